"""What is measured: a package for each question, asked by ``python -m benchmarks.QUESTION``.

Needs the extra ``benchmarks``, and the repository's top as the working directory.
"""
