"""Whether our recipes train as Keras does, in which the publications' networks were trained."""
