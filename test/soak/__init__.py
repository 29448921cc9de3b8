"""The node for a stated time under everything a robot does to it: `make soak`. Not part of the tests."""
