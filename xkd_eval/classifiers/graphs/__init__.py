"""ONNX and OpenVINO files as classifiers: no module of torch, but a graph, in which the CAM head is found and proven."""
