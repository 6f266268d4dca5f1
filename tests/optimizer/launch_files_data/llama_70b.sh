#!/bin/bash
# Pre-training of a Llama-style 70B with Megatron-LM, as published by an academic supercomputing project.
export CUDA_DEVICE_MAX_CONNECTIONS=1
MBS=1
GBS=1024
SEQ_LEN=8192
TRAINING_STEPS=15000
NNODES=16
NPROC=4

DISTRIBUTED="--nproc_per_node $NPROC --nnodes $NNODES --master_addr $MASTER_ADDR"

TRANSFORMER_ENGINE_ARGS=(
    --transformer-impl transformer_engine
    --use-precision-aware-optimizer
    --main-grads-dtype bf16
)
NETWORK_SIZE_ARGS=(
    --num-layers 80
    --hidden-size 8192
    --ffn-hidden-size 28672
    --num-attention-heads 64
    --group-query-attention
    --num-query-groups 8
    --max-position-embeddings $SEQ_LEN
    --position-embedding-type rope
    --rotary-base 500000
    --make-vocab-size-divisible-by 128
    --vocab-size 131072
    --normalization RMSNorm
    --swiglu
    --untie-embeddings-and-output-weights
)
REGULARIZATION_ARGS=(
    --attention-dropout 0.0
    --hidden-dropout 0.0
    --weight-decay 0.1
    --clip-grad 1.0
    --adam-beta1 0.9
    --adam-beta2 0.95
)
TRAINING_ARGS=(
    --micro-batch-size $MBS
    --global-batch-size $GBS
    --no-check-for-nan-in-loss-and-grad
    --train-iters $TRAINING_STEPS
    --cross-entropy-loss-fusion
    --disable-bias-linear
    --optimizer adam
    --dataloader-type single
    --manual-gc
    --manual-gc-interval 50
)
DISTRIBUTED_ARGS=(
    --tensor-model-parallel-size 4
    --sequence-parallel
    --pipeline-model-parallel-size 8
    --num-layers-per-virtual-pipeline-stage 5
    --context-parallel-size 1
    --use-distributed-optimizer
    --overlap-grad-reduce
    --overlap-param-gather
    --wgrad-deferral-limit 22
)
torchrun $DISTRIBUTED pretrain_gpt.py ${TRANSFORMER_ENGINE_ARGS[@]} ${NETWORK_SIZE_ARGS[@]} \
    ${REGULARIZATION_ARGS[@]} ${TRAINING_ARGS[@]} ${DISTRIBUTED_ARGS[@]} --bf16 --seq-length $SEQ_LEN
