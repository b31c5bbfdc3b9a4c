#include "retemper/perceptron/simulate.hpp"

#include <array>
#include <cmath>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/normal_stream.hpp"
#include "retemper/numerics/vector_math.hpp"

namespace retemper::perceptron {

namespace {

namespace vm = numerics::vm;
constexpr std::uint64_t purpose_rows = 1, purpose_fields = 2;

struct Field {
  double h;  // pre-activation of the true direction
  bool is_positive;
};

/// Section 3: the field of one row from five uniform numbers in (0, 1).
Field draw_field(const RowLaw& law, bool is_labelled, const std::array<double, 5>& u) {
  if (law.law == Law::cluster) {
    const bool side = u[0] < 0.5;
    return {(side ? law.cluster_mean : -law.cluster_mean) + vm::ndtri(u[1]), side};
  }
  const double variance = 1.0 + law.sigma * law.sigma;
  const double spread = std::sqrt(variance);
  const double above = vm::ndtr(-(law.kappa + law.offset) / spread);
  const double below = vm::ndtr(-(law.kappa - law.offset) / spread);
  const bool is_background = !is_labelled && u[2] < law.eta_u;
  const bool side = u[0] * (above + below) < above;
  const double t = is_background
                       ? spread * vm::ndtri(u[1])
                       : spread * (side ? -vm::ndtri(u[1] * above) : vm::ndtri(u[1] * below));
  const double h = t / variance + law.sigma / spread * vm::ndtri(u[3]);
  const bool is_flipped = is_labelled && u[4] < law.eta_l;
  return {h, (is_background ? t > law.offset : side) != is_flipped};
}

}  // namespace

template <class Real>
void sample_rows(const RowLaw& law, const ConstVectorView& w_true, Index n_labelled, Index n_rows,
                 const PhiloxKey& key, std::uint64_t replica, Real* X, std::int8_t* label,
                 int n_threads, Control& control) {
  const Index n = w_true.size();
  const Vector direction = w_true / std::sqrt(static_cast<double>(n));
  require(std::abs(direction.squaredNorm() - 1.0) < 1e-9, "|w_true|^2 must be n_features");
  constexpr Index block = 16;
  const Index n_blocks = (n_rows + block - 1) / block;
  parallel_for(n_blocks, threads_for(n_rows * n, 1 << 18, n_threads), control, [&](Index b) {
    Vector x(n);
    for (Index i = b * block; i < std::min(n_rows, (b + 1) * block); ++i) {
      const std::uint64_t row = static_cast<std::uint64_t>(i);
      numerics::fill_normal(Stream(key, purpose_rows, replica, row), 0, n, x.data());
      std::array<std::uint64_t, 5> words{};
      Stream(key, purpose_fields, replica, row).words(0, 5, words.data());
      std::array<double, 5> u{};
      for (std::size_t k = 0; k < u.size(); ++k) u[k] = open_uniform(words[k]);
      const Field field = draw_field(law, i < n_labelled, u);
      x += (field.h - direction.dot(x)) * direction;
      Eigen::Map<Eigen::Matrix<Real, Eigen::Dynamic, 1>>(X + i * n, n) = x.cast<Real>();
      label[i] = field.is_positive ? 1 : -1;
    }
  });
}

template void sample_rows<double>(const RowLaw&, const ConstVectorView&, Index, Index,
                                  const PhiloxKey&, std::uint64_t, double*, std::int8_t*, int,
                                  Control&);
template void sample_rows<float>(const RowLaw&, const ConstVectorView&, Index, Index,
                                 const PhiloxKey&, std::uint64_t, float*, std::int8_t*, int,
                                 Control&);

}  // namespace retemper::perceptron
