"""Shallow ReLU networks: tangent kernel, networks of finite width, the estimator."""
