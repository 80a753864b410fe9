"""The launched program: trains or merges what a job file says, and leaves its result beside it.

The one idea: TRL does the training, and everything that decides what comes out arrives as data. Rows
come with token ids, so nothing is rendered, tokenized or cut here; `batches.py` says which rows make
an update.

    python -m woolgather.training.worker JOB.json      (launch.py writes the file and starts this)

Leaves in the job's `out`: model/, curves.parquet, and result.json last; or error.json. As it goes:
progress.jsonl, and checkpoints/, each marked complete by a file written last. Imported by nobody
outside of it.

    __main__.py   watches the parent before anything slow is imported
    program.py    one job from its file to its result or error
    devices/      the device, its memory, and the processes that train together
    setup.py      what all training shares: the model, how many rows at once, TRL's settings, the end
    weights/      where a model is, and how its weights go between files and memory
    adapter.py    the layers that an adapter stands on, and an end token that nobody has trained
    dropout.py    the model's own dropout, where all weights are trained
    keeping.py    the models after each epoch, and the best so far
    stop_test.py  whether the trained model stops by itself
    told.py       progress, checkpoints, stopping
    sft.py        supervised fine-tuning
    dpo.py        preference training against a frozen opponent
    shared_prompt.py   both answers of a pair in one row, behind one prompt
    opponent.py   what the opponent says of each pair, computed once
    merging.py    an adapter and its base become one
    speed.py      equal computations at less cost on a CPU
"""
