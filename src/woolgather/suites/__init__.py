"""The evaluations of the field, carried out by lm-evaluation-harness and remembered.

    suite.py         what a suite asks: tasks, shots, measures, data, and the figures that were published
    definitions/     the suites of the four papers, as data with their sources
    tasks/           tasks that the harness does not have, in its own format
    data.py          where each task's data lie; all that is missing, said at once
    interpreter.py   the Python that has the harness
    backends.py      how the harness is told of a model
    run.py           one model through one suite: what is finished is not asked again
    bench.py         the same as steps of a run
    worker.py        the program that the harness's Python runs
    outcomes.py      the harness's samples as outcomes by item
    table.py         models by tasks, with intervals, beside what was published

The one idea: the harness computes, in a process and an environment of its own, and its results stay as
it wrote them. Ours, read from them, lie beside.
"""
