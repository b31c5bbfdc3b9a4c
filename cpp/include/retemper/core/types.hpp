// The scalar, vector and view types every other header speaks.
#pragma once

#include <Eigen/Core>
#include <cstddef>

namespace retemper {

using Index = Eigen::Index;
static_assert(sizeof(Index) == sizeof(std::ptrdiff_t), "Index must be pointer sized");

using Vector = Eigen::VectorXd;
using Matrix = Eigen::MatrixXd;  // column-major: factorisations
using RowMatrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

using VectorView = Eigen::Ref<Vector>;
using ConstVectorView = Eigen::Ref<const Vector>;
using ConstRowMatrixView = Eigen::Ref<const RowMatrix>;
using ConstMatrixView = Eigen::Ref<const Matrix>;

}  // namespace retemper
