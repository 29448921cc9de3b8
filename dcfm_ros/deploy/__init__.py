"""The network as a stream runs it: cut into parts, and those parts as ONNX graphs, OpenVINO files, TensorRT engines."""
