"""Seconds that PyTorch DCP's default save planner takes on one core: from the local plans of all ranks to the global plan, deduplicated and validated.
Prints one JSON object; exits 3 where there is no PyTorch. Usage: plan_peer.py RANKS TENSORS"""
import json
import sys
import time

try:
    import torch
    from torch.distributed.checkpoint import DefaultSavePlanner
    from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex, TensorProperties
    from torch.distributed.checkpoint.planner import SavePlan, TensorWriteData, WriteItem, WriteItemType
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)


def shard(name, rank, ranks):
    rows, columns = 64, 1024
    offset = torch.Size([rank * rows, 0])
    data = TensorWriteData(chunk=ChunkStorageMetadata(offsets=offset, sizes=torch.Size([rows, columns])),
                           properties=TensorProperties(dtype=torch.bfloat16), size=torch.Size([ranks * rows, columns]))
    return WriteItem(index=MetadataIndex(name, offset), type=WriteItemType.SHARD, tensor_data=data)


def main(ranks, tensors):
    names = [f"model.layers.{i}.mlp.down_proj.weight" for i in range(tensors)]
    plans = [SavePlan([shard(name, rank, ranks) for name in names]) for rank in range(ranks)]
    torch.set_num_threads(1)
    begin = time.process_time()
    DefaultSavePlanner(flatten_state_dict=False).create_global_plan(plans)
    seconds = time.process_time() - begin
    print(json.dumps({"seconds": seconds, "chunks": ranks * tensors, "version": torch.__version__}))


main(int(sys.argv[1]), int(sys.argv[2]))
