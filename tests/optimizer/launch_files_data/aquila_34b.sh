TP=4
PP=4
MBS=1
GBS=1024
NNODES=8
DISTRIBUTED_ARGS="
    --nproc_per_node 16 \
    --nnodes $NNODES \
    --node_rank $NODERANK \
    --master_addr $MASTERADDR \
    --master_port $MASTERPORT
"
TRAINING_ARGS="
    --mlp-g1-tp-overlap \
    --mlp-g1-overlap-size 4 \
    --train-samples $TRAININGSAMPLES \
    --eval-iters 0 \
    --eval-interval 2000 \
    --tensor-model-parallel-size $TP \
    --pipeline-model-parallel-size $PP \
    --micro-batch-size $MBS \
    --global-batch-size $GBS \
    --disable-bias-linear \
    --use-distributed-optimizer \
    --use-flash-attn \
    --num-layers-per-virtual-pipeline-stage 5 \
    --recompute-granularity full \
    --recompute-method uniform \
    --recompute-num-layers 1 \
    --recompute-method-per-stage 11 0 1 1 \
    --sequence-parallel
"
NETWORK_ARGS="
    --num-layers 60 \
    --hidden-size 6144 \
    --num-attention-heads 48 \
    --group-query-attention \
    --num-query-groups 8 \
    --hidden-dim-multiplier 1.3 \
    --swiglu \
    --multiple-of 4096\
    --seq-length 4096 \
    --max-position-embeddings 4096 \
    --vocab-size 100008 \
    --use-rotary-position-embeddings \
    --no-position-embedding \
    --bf16
"
