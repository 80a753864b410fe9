"""A model that two processes share out by FSDP2, below TRL, which shares nothing out on a CPU.

python -m tests.training.sharding START FOLDER      (RANK says which of the two this is)

Trains all weights and then an adapter; of each, FOLDER gets what was saved after training, and what was
saved again after it had been wiped out and put back.
"""

import os
import sys
from pathlib import Path

import peft
import torch
import transformers

PROCESSES = 2
ROWS = [[3 + n, 40 + n, 80 + 2 * n, 120 - n, 7] for n in range(4)]
SHARD_BYTES = 20_000


def open_model(start: Path, kind: str) -> torch.nn.Module:
    """The start in float32; with an adapter, if that is the kind, whose second matrix is not all zero."""
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    if kind == "full":
        return model
    lora = peft.LoraConfig(
        r=4,
        target_modules="all-linear",
        trainable_token_indices=[2],
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    return peft.get_peft_model(model, lora)


def train(model: torch.nn.Module, rows: list[list[int]]) -> None:
    """Three updates on the rows, whose mean loss counts."""
    own = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(own, lr=0.05)
    ids = torch.tensor(rows)
    for _ in range(3):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def main(start: Path, folder: Path) -> None:
    from torch.distributed import destroy_process_group, init_process_group
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from woolgather.training.worker.weights.sharded import put_back, save_adapter, save_weights

    torch.set_num_threads(1)
    rank = int(os.environ["RANK"])
    init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    mesh = init_device_mesh("cpu", (PROCESSES,))
    for kind in ("full", "adapter"):
        model = open_model(start, kind)
        for module in model.modules():
            if isinstance(module, transformers.models.llama.modeling_llama.LlamaDecoderLayer):
                fully_shard(module, mesh=mesh)
        fully_shard(model, mesh=mesh)
        train(model, ROWS[rank::PROCESSES])

        def save(place: Path, kind: str = kind, model: torch.nn.Module = model) -> None:
            if kind == "adapter":
                save_adapter(model, place, write=rank == 0)
            else:
                save_weights(model, place, torch.bfloat16, write=rank == 0, most=SHARD_BYTES)
            torch.distributed.barrier()

        save(folder / kind)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.zero_()
        put_back(model, folder / kind)
        save(folder / f"{kind}-again")
    destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
