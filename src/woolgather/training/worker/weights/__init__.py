"""A model's weights: where they are, and how they go from files to memory and back.

places.py     where a model is, and in what form it is stored
four_bits.py  a base in 4 bits, and whether the merged model is the one that trained on it
files.py      tensors in safetensors files, one at a time
sums.py       what an adapter adds to the tensors of its base
sharded.py    weights that processes share out: saved, and put back
"""
