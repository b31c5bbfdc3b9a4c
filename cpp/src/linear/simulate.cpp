#include "retemper/linear/simulate.hpp"

#include <cmath>
#include <limits>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/linear/deep.hpp"
#include "retemper/numerics/normal_stream.hpp"

namespace retemper::linear {

namespace {

enum Purpose : std::uint64_t { target_design = 1, target_noise, source_design, source_noise };

RowMatrix draw(const Stream& stream, Entries entries, Index rows, Index cols) {
  RowMatrix z(rows, cols);
  const Index size = z.size();
  if (entries == Entries::rademacher) {
    std::vector<std::uint64_t> words(static_cast<std::size_t>(size));
    stream.words(0, size, words.data());
    for (Index i = 0; i < size; ++i)
      z.data()[i] = words[static_cast<std::size_t>(i)] >> 63 ? 1.0 : -1.0;
  } else if (entries == Entries::student) {
    constexpr Index degrees = 5;
    Vector normal((degrees + 1) * size);
    numerics::fill_normal(stream, 0, normal.size(), normal.data());
    for (Index i = 0; i < size; ++i) {
      const auto run = normal.segment((degrees + 1) * i, degrees + 1);
      // Student's t over its standard deviation, sqrt(degrees / (degrees - 2))
      z.data()[i] = run[0] * std::sqrt(3.0 / run.tail(degrees).squaredNorm());
    }
  } else {
    numerics::fill_normal(stream, 0, size, z.data());
  }
  return z;
}

struct Sample {
  RowSpace space;
  RowMatrix noise;  // (n, k)
  RowMatrix y;      // (n, k)
};

Sample draw_sample(const Task& task, const Stream& design, const Stream& noise, Entries entries) {
  RowMatrix x = draw(design, entries, task.n, task.spectrum.size());
  x *= task.spectrum.cwiseSqrt().asDiagonal();
  Sample sample{row_space(x), RowMatrix(task.n, task.teacher.rows()), {}};
  numerics::fill_normal(noise, 0, sample.noise.size(), sample.noise.data());
  sample.noise *= task.noise;
  sample.y = x * task.teacher.transpose() + sample.noise;
  return sample;
}

/// Effective ridge and degrees of freedom of a sample of n rows: s (rank,) singular values.
std::array<double, 3> sample_freedom(const Vector& s, Index n_samples, double ridge) {
  if (n_samples == 0) return {std::numeric_limits<double>::infinity(), 0.0, 0.0};
  const double n = static_cast<double>(n_samples);
  const double null = n - static_cast<double>(s.size());  // zero eigenvalues of the Gram matrix
  if (ridge == 0.0 && null > 0.0) return {0.0, n - null, n - null};
  const Eigen::ArrayXd inverse = 1.0 / (s.array().square() / n + ridge);
  const double lost = null > 0.0 ? 1.0 / ridge : 0.0;
  const double trace = inverse.sum() + null * lost;
  const double square = inverse.square().sum() + null * lost * lost;
  return {n / trace, n - ridge * trace, n - trace * trace / square};
}

}  // namespace

RowMatrix simulate_linear(const Task& target, const Source& source, double depth, Entries entries,
                          const PhiloxKey& key, Index n_repeats, int n_threads, Control& control) {
  const Index d = target.spectrum.size(), k = target.teacher.rows();
  const auto n_columns = static_cast<Index>(simulation_columns.size());
  const bool is_fixed = source.coef.size() > 0;
  const bool is_turned = source.rotation.size() > 0;
  const RowMatrix& origin = is_fixed ? source.coef : source.task.teacher;
  require(n_repeats >= 1 && target.n >= 0 && source.task.n >= 0, "counts must not be negative");
  require(target.teacher.cols() == d && origin.rows() == k && origin.cols() == d &&
              (is_fixed || source.task.spectrum.size() == d),
          "spectra, teachers and source differ in shape");
  require(!is_turned || (source.rotation.rows() == d && source.rotation.cols() == d),
          "rotation must have shape (d, d)");
  require(depth == 1.0 || target.ridge == 0.0, "ridge must be 0 above depth 1");

  RowMatrix table(n_repeats, n_columns + k);
  control.set_total(n_repeats);
  parallel_for(n_repeats, n_threads, control, [&](Index r) {
    const auto stream = [&](Purpose purpose) {
      return Stream(key, purpose, static_cast<std::uint64_t>(r));
    };
    RowMatrix w0 = source.coef;  // (k, d)
    if (!is_fixed) {
      const Sample sample =
          draw_sample(source.task, stream(source_design), stream(source_noise), entries);
      w0 = deep_fit(sample.space, sample.y, RowMatrix::Zero(k, d), 1.0, source.task.ridge).coef;
      if (is_turned) w0 = (w0 * source.rotation.transpose()).eval();
      control.check();
    }
    const Sample sample = draw_sample(target, stream(target_design), stream(target_noise), entries);
    control.check();
    const Matrix& u = sample.space.u;
    const Vector& s = sample.space.s;
    const RowMatrix& v = sample.space.v;
    const DeepFit fit = deep_fit(sample.space, sample.y, w0, depth, target.ridge);

    const Vector full = s.array().square() + static_cast<double>(target.n) * target.ridge;
    const Vector kept = s.array().square() / full.array();
    const auto remove = [&](const RowMatrix& b) -> RowMatrix {  // what the fit does not see of b
      return b - (b * v.transpose() * kept.asDiagonal()) * v;
    };
    const auto inner = [&](const RowMatrix& a, const RowMatrix& b) {
      return (a * target.spectrum.asDiagonal()).cwiseProduct(b).sum();
    };
    const RowMatrix heard = (sample.noise.transpose() * u) * s.cwiseQuotient(full).asDiagonal() * v;
    const RowMatrix missed = remove(target.teacher), brought = remove(w0);
    const RowMatrix scratch = heard - missed;
    const RowMatrix silent = fit.source_scale.asDiagonal() * brought - missed;
    const RowMatrix error = fit.coef - target.teacher, zero_shot = w0 - target.teacher;
    const auto [kappa, df1, df2] = sample_freedom(s, target.n, target.ridge);
    table.row(r) << inner(error, error), inner(silent, silent), inner(heard, heard), kappa, df1,
        df2, inner(scratch, scratch), inner(zero_shot, zero_shot), inner(scratch, brought),
        inner(brought, brought), fit.source_scale.transpose();
  });
  return table;
}

}  // namespace retemper::linear
