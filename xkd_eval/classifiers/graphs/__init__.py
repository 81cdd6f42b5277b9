"""ONNX and OpenVINO files as classifiers: graphs instead of modules of torch, with a CAM head found and proven."""
