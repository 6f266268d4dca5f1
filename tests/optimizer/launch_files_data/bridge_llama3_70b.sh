torchrun --nproc_per_node=8 \
  run_recipe.py \
  --recipe llama3_70b_pretrain_config \
  model.tensor_model_parallel_size=4 \
  model.pipeline_model_parallel_size=4 \
  model.virtual_pipeline_model_parallel_size=5 \
  model.context_parallel_size=2 \
  model.sequence_parallel=true \
  model.seq_length=8192 \
  train.global_batch_size=512 \
  train.micro_batch_size=1 \
  train.train_iters=1000 \
  optimizer.lr=1.5e-4 \
  ddp.overlap_param_gather=true
