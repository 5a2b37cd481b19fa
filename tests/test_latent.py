"""Walks among codes."""

import numpy as np
import pytest

from unsupfast import latent


def test_lines_and_circles_reach_their_ends():
    a, b = np.array([3.0, 0, 0]), np.array([0, 0, 1.0])
    for walk in (latent.lerp, latent.slerp):
        path = walk(a, b, 7)
        np.testing.assert_allclose(path[[0, -1]], [a, b], atol=1e-12)
    np.testing.assert_allclose(latent.lerp(a, b, 3)[1], [1.5, 0, 0.5])
    middle = latent.slerp(a, b, 3)[1]
    np.testing.assert_allclose(middle, np.array([1, 0, 1]) / np.sqrt(2) * 2)
    np.testing.assert_allclose(latent.slerp(a, 2 * a, 3)[1], 1.5 * a)
    np.testing.assert_allclose(np.linalg.norm(latent.slerp(a, 3 * b, 9), axis=1), 3)


def test_attributes_and_grids():
    codes = np.array([[0.0, 1], [2, 1], [5, 5], [7, 5]])
    np.testing.assert_array_equal(latent.attribute_vector(codes, [0, 0, 1, 1]), [5, 4])
    square = latent.grid(3, low=0.1, high=0.9)
    assert square.shape == (9, 2)
    np.testing.assert_allclose(square[4], 0, atol=1e-12)
    assert square[0, 0] < 0 < square[0, 1] and square[8, 0] > 0 > square[8, 1]
    data = np.array([[0.0, 10], [1, 30], [2, 20]])
    np.testing.assert_allclose(
        latent.grid(2, low=0.25, high=0.75, codes=data),
        [[0.5, 25], [1.5, 25], [0.5, 15], [1.5, 15]],
    )


@pytest.mark.parametrize(
    "call, text",
    [
        (lambda: latent.lerp([0, 1], [0]), "shapes"),
        (lambda: latent.lerp([0], [1], 0), "n is 0"),
        (lambda: latent.slerp([0, 0], [1, 0]), "zero"),
        (lambda: latent.attribute_vector([[1.0]], [1]), "same for all"),
        (lambda: latent.attribute_vector([1.0], [1]), "shapes"),
        (lambda: latent.grid(0), "side"),
        (lambda: latent.grid(low=0), "low and high"),
        (lambda: latent.grid(codes=[[1.0]]), "codes has shape"),
    ],
)
def test_bad_arguments_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call()
