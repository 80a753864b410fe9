"""What a training runs on: a device and its memory, and the processes that train together.

machine.py     the device, what it computes in, and the memory that it has
processes.py   the number of this process, and what all of them must agree on
tracking.py    a process beside the training: what it measures goes to a tracker
"""
