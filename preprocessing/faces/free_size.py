"""Frees a detector's ONNX graph from the picture size that was fixed when it was exported.

SCRFD is convolutional, so its weights do not depend on the size; only the graph's labels do, and the target
sizes of its two upsamplings, which become factors.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper, shape_inference


def read_with_free_size(path: Path) -> ModelProto:
    """Return the model with symbolic height and width of its input; any other shape is left to be inferred.

    A graph that reshapes to fixed sizes, or upsamples by anything but constant factors, is returned as it is.
    """
    model = onnx.load(path)
    height, width = model.graph.input[0].type.tensor_type.shape.dim[2:4]
    if not (height.dim_value and width.dim_value) or not _depends_on_labels_alone(model.graph):
        return model
    shapes = _shapes(shape_inference.infer_shapes(model).graph)
    for node in model.graph.node:
        if node.op_type == "Resize" and len(node.input) == 4:
            _scale_by_factors(node, model.graph, shapes[node.input[0]])
    height.dim_param, width.dim_param = "height", "width"
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    return model


def _depends_on_labels_alone(graph: GraphProto) -> bool:
    """Return whether reshaping leaves the number of positions open, and target sizes are constants."""
    constants = {one.name: numpy_helper.to_array(one) for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Reshape" and -1 not in constants.get(node.input[1], np.empty(0)):
            return False
        if node.op_type == "Resize" and len(node.input) == 4 and node.input[3] not in constants:
            return False
    return True


def _scale_by_factors(node: NodeProto, graph: GraphProto, shape: list[int]) -> None:
    (sizes,) = (numpy_helper.to_array(one) for one in graph.initializer if one.name == node.input[3])
    factors = (sizes / np.array(shape)).astype(np.float32)
    name = f"{node.output[0]}_factors"
    graph.initializer.append(numpy_helper.from_array(factors, name))
    old = set(node.input[2:])
    del node.input[2:]
    node.input.append(name)
    used = {name for one in graph.node for name in one.input}
    for one in [one for one in graph.initializer if one.name in old - used]:
        graph.initializer.remove(one)


def _shapes(graph: GraphProto) -> dict[str, list[int]]:
    return {
        one.name: [axis.dim_value for axis in one.type.tensor_type.shape.dim]
        for one in [*graph.value_info, *graph.input]
    }
