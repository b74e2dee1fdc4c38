"""KServe's side of the benchmark: its Python model server with onnxruntime, as its documentation shows one."""

import argparse

import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server


class OnnxModel(Model):
    """An ONNX model with one input and one output."""

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.enable_cpu_mem_arena = False
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0]
        self.ready = True

    def predict(self, payload: InferRequest, _headers: dict[str, str] | None = None) -> InferResponse:
        array = payload.inputs[0].as_numpy()
        (given,) = self._session.run([self._output.name], {self._input: array})
        output = InferOutput(self._output.name, list(given.shape), "FP32")
        output.set_data_from_numpy(given, binary_data=payload.use_binary_outputs)
        return InferResponse(payload.id, self.name, [output], use_binary_outputs=payload.use_binary_outputs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[model_server.parser])
    parser.add_argument("--onnx", required=True)
    options, _ = parser.parse_known_args()
    ModelServer().start([OnnxModel(options.model_name, options.onnx)])
