"""What PyTorch DCP takes to save a state durably and to load it past the page cache, in one process, with no digests.
Prints one JSON object; exits 3 where there is no PyTorch. Usage: io_peer.py FOLDER BYTES REPEATS"""
import json
import os
import shutil
import statistics
import sys
import time

try:
    import torch
    import torch.distributed.checkpoint as dcp
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(3)


def timed(bytes_moved, work):
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return bytes_moved / 1e9 / wall, cpu / (bytes_moved / 1e9)


def drop_cache(folder):
    for name in os.listdir(folder):
        descriptor = os.open(os.path.join(folder, name), os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def main(folder, size, repeats):
    tensors = 16
    state = {f"layer.{i}": torch.randn(size // tensors // 4) for i in range(tensors)}
    moved = sum(tensor.numel() * 4 for tensor in state.values())
    path = os.path.join(folder, "peer")
    saves, loads = [], []
    for repeat in range(repeats + 1):
        save = timed(moved, lambda: dcp.save(state, storage_writer=dcp.FileSystemWriter(path, sync_files=True)))
        drop_cache(path)
        load = timed(moved, lambda: dcp.load(state, storage_reader=dcp.FileSystemReader(path)))
        shutil.rmtree(path)
        if repeat > 0:  # the first makes memory and files known to the system
            saves.append(save)
            loads.append(load)
    middle = {name: [statistics.median(column) for column in zip(*rates)] for name, rates in (("save", saves), ("load", loads))}
    print(json.dumps({"save": middle["save"][0], "cpu save": middle["save"][1], "load": middle["load"][0], "cpu load": middle["load"][1],
                      "version": torch.__version__}))


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
