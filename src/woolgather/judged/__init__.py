"""The benchmarks of the field whose answers a judge model reads: AlpacaEval, MT-Bench, the Vicuna
questions.

    questions.py          what each benchmark asks, from the file that its authors published
    answers.py            what a model answers, in the file format of the benchmark
    judge.py              what the judge is asked
    audition.py           whether it can tell good answers from bad ones, by the same question
    known_pairs.py        the answers whose order is known, for a judge that compares
    compare.py            an answer against the reference, in both orders
    grade.py              an answer by itself, 1 to 10
    length_controlled.py  the win rate without its share of length, by alpaca_eval's own model
    table.py              models by rates or grades, and what has to be known to read them

The one idea: a number of such a benchmark belongs to its judge and to the judge's prompt as much as to
the model. So a judge is auditioned before it is believed, its every reply is kept, and nothing published
stands beside the numbers.
"""
