"""What benchmarks/preprocess.py is made of."""
