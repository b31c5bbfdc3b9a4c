"""Deep linear networks on data: closed form, gradient flow, gradient descent on the factors."""
