#!/bin/bash
export CUDA_DEVICE_MAX_CONNECTIONS=32
torchrun --nproc_per_node 8 --nnodes 4 pretrain_gpt.py \
    --num-layers 48 --hidden-size 2048 --ffn-hidden-size 6144 --num-attention-heads 32 \
    --group-query-attention --num-query-groups 4 --kv-channels 128 --swiglu --disable-bias-linear \
    --normalization RMSNorm --position-embedding-type rope --untie-embeddings-and-output-weights \
    --hidden-dropout 0 --vocab-size 151936 --seq-length 4096 \
    --num-experts 128 --moe-router-topk 8 --moe-ffn-hidden-size 768 \
    --tensor-model-parallel-size 1 --pipeline-model-parallel-size 2 \
    --num-virtual-stages-per-pipeline-rank 4 --expert-model-parallel-size 8 \
    --moe-token-dispatcher-type alltoall --moe-grouped-gemm \
    --overlap-moe-expert-parallel-comm \
    --micro-batch-size 1 --global-batch-size 512 --train-iters 1000 \
    --use-distributed-optimizer --bf16
