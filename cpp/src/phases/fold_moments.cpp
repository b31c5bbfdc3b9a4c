#include "retemper/phases/fold_moments.hpp"

#include <algorithm>
#include <vector>

#include "retemper/core/error.hpp"
#include "retemper/core/parallel.hpp"
#include "retemper/numerics/linalg.hpp"

namespace retemper::phases {

namespace {

constexpr Index strip = 512;           // target columns a product takes at a time
constexpr Index triangle_strip = 128;  // columns of a triangle that are a task, or a float product
constexpr Index triangle_most =
    1024;                            // columns of the triangle of H^T H between two looks at Ctrl-C
constexpr Index grain = 64'000'000;  // multiplications that pay for one more thread
// Rows that a product sums at a time: a panel of so many stays in the first-level cache, so that
// sums are read and written once for all of them; more would also show the rounding of floats.
constexpr Index block_rows = 240;

using Map = Eigen::Map<RowMatrix>;

/// rows[a..b) of source, columns [c0, c0 + width), minus shift, in `out` (b - a, width).
template <class In, class Out>
void pack(const In* source, Index stride, const Index* rows, Index n, Index c0, Index width,
          const double* shift, Out* out) {
  for (Index i = 0; i < n; ++i) {
    const In* from = source + rows[i] * stride + c0;
    Out* to = out + i * width;
    const double* s = shift + c0;
#pragma omp simd
    for (Index j = 0; j < width; ++j) to[j] = static_cast<Out>(static_cast<double>(from[j]) - s[j]);
  }
}

/// Room that a thread keeps from batch to batch.
template <class Scalar, int Which>
Scalar* room(Index size) {
  thread_local std::vector<Scalar> entries;
  if (entries.size() < static_cast<std::size_t>(size))
    entries.resize(static_cast<std::size_t>(size));
  return entries.data();
}

template <class Scalar>
using Rows = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

/// out += A^T B; in float by way of `part`.
template <class A, class B, class Out>
void add_product(const A& a, const B& b, Out&& out, Rows<double>&) {
  numerics::add_product(a.transpose(), b, out);
}
template <class A, class B, class Out>
void add_product(const A& a, const B& b, Out&& out, Rows<float>& part) {
  part.noalias() = a.transpose() * b;
  out += part.template cast<double>();
}

/// The lower half of out += A^T A.
template <class A, class Out>
void add_gram(const A& a, Out&& out, Rows<double>&) {
  numerics::add_gram(a.transpose(), out);
}
template <class A, class Out>
void add_gram(const A& a, Out&& out, Rows<float>& part) {
  const Index n = out.rows();
  for (Index c = 0; c < n; c += triangle_strip) {
    const Index w = std::min(triangle_strip, n - c);
    add_product(a.rightCols(n - c), a.middleCols(c, w), out.block(c, c, n - c, w), part);
  }
}

template <class Work, class In>
void add_fold(FoldSums& sums, Index f, const std::vector<Index>& rows, const Batch<In>& batch,
              Control& control) {
  const Index h = sums.n_units, q = sums.n_targets;
  const double* shift_h = sums.shift_h.data();
  const double* shift_t = sums.shift_t.data();
  const auto n = static_cast<Index>(rows.size());
  const Index n_blocks = (n + block_rows - 1) / block_rows, most = (n + n_blocks - 1) / n_blocks;
  Map hh(sums.hh.data() + f * h * h, h, h);
  Map ht(sums.ht.data() + f * h * q, h, q);
  double* sum_h = sums.h.data() + f * h;
  double* sum_t = sums.t.data() + f * q;
  double* sum_tt = sums.tt.data() + f * q;
  Eigen::Map<Rows<Work>> a(room<Work, 0>(most * h), most, h);
  Work* b = room<Work, 1>(most * std::min(strip, q));
  Rows<Work> part;
  for (Index start = 0; start < n; start += most) {
    const Index k = std::min(most, n - start);
    const Index* at = rows.data() + start;
    pack(batch.H, h, at, k, 0, h, shift_h, a.data());
    const auto rows_a = a.topRows(k);
    for (Index c = 0; c < h; c += triangle_most) {
      control.check();
      const Index w = std::min(triangle_most, h - c), below = h - c - w;
      const auto columns = rows_a.middleCols(c, w);
      add_gram(columns, hh.block(c, c, w, w), part);
      if (below > 0)
        add_product(rows_a.rightCols(below), columns, hh.block(c + w, c, below, w), part);
    }
    for (Index c = 0; c < q; c += strip) {
      control.check();
      const Index w = std::min(strip, q - c);
      pack(batch.T, q, at, k, c, w, shift_t, b);
      const Eigen::Map<const Rows<Work>> rows_b(b, k, w);
      add_product(rows_a, rows_b, ht.middleCols(c, w), part);
    }
    for (Index i = 0; i < k; ++i) {
      const In* row_h = batch.H + at[i] * h;
      for (Index j = 0; j < h; ++j) sum_h[j] += static_cast<double>(row_h[j]) - shift_h[j];
      const double* row_t = batch.T + at[i] * q;
      for (Index j = 0; j < q; ++j) {
        const double x = row_t[j] - shift_t[j];
        sum_t[j] += x;
        sum_tt[j] += x * x;
      }
    }
  }
  sums.count[f] += static_cast<double>(n);
}

}  // namespace

FoldSums::FoldSums(Index folds, const ConstVectorView& near_h, const ConstVectorView& near_t)
    : n_folds(folds), n_units(near_h.size()), n_targets(near_t.size()) {
  require(n_folds >= 1 && n_units >= 1 && n_targets >= 1,
          "there must be a fold, a unit and a target");
  shift_h = near_h;
  shift_t = near_t;
  hh.setZero(n_folds * n_units * n_units);
  ht.setZero(n_folds * n_units * n_targets);
  h.setZero(n_folds * n_units);
  t.setZero(n_folds * n_targets);
  tt.setZero(n_folds * n_targets);
  count.setZero(n_folds);
}

template <class Scalar>
void add_batch(FoldSums& sums, const Batch<Scalar>& batch, Precision precision, int n_threads,
               Control& control) {
  std::vector<std::vector<Index>> rows(static_cast<std::size_t>(sums.n_folds));
  for (Index i = 0; i < batch.n; ++i) {
    const Index f = batch.fold[i];
    require(f >= 0 && f < sums.n_folds, "fold is out of range");
    rows[static_cast<std::size_t>(f)].push_back(i);
  }
  const Index work = batch.n * sums.n_units * (sums.n_units + sums.n_targets);
  const int team = threads_for(work, grain, n_threads);
  control.set_total(sums.n_folds);
  parallel_for(sums.n_folds, team, control, [&](Index f) {
    const auto& mine = rows[static_cast<std::size_t>(f)];
    if (mine.empty()) return;
    if (precision == Precision::float32) {
      add_fold<float>(sums, f, mine, batch, control);
    } else {
      add_fold<double>(sums, f, mine, batch, control);
    }
  });
}

template void add_batch(FoldSums&, const Batch<double>&, Precision, int, Control&);
template void add_batch(FoldSums&, const Batch<float>&, Precision, int, Control&);

namespace {

/// out += rows rows^T, its lower half, in blocks that the threads share out.
void add_rows_gram(const RowMatrix& rows, Index width, RowMatrix& out, int team, Control& control) {
  const Index h = rows.rows(), n_blocks = (h + triangle_strip - 1) / triangle_strip;
  parallel_for(n_blocks, team, control, [&](Index b) {
    const Index r = b * triangle_strip, k = std::min(triangle_strip, h - r);
    const auto part = rows.block(r, 0, k, width);
    numerics::add_gram(part, out.block(r, r, k, k));
    if (r > 0)
      numerics::add_product(part, rows.topLeftCorner(r, width).transpose(), out.block(r, 0, k, r));
  });
}

void mirror(RowMatrix& m) {
  for (Index i = 0; i < m.rows(); ++i)
    for (Index j = i + 1; j < m.rows(); ++j) m(i, j) = m(j, i);
}

/// Means of activations and of targets over all folds but one (none if it is negative), and rows.
struct Means {
  Means(const FoldSums& sums, Index left_out, Index first, Index last)
      : h(Vector::Zero(sums.n_units)), t(Vector::Zero(last - first)) {
    for (Index f = 0; f < sums.n_folds; ++f) {
      if (f == left_out) continue;
      n += sums.count[f];
      h += Eigen::Map<const Vector>(sums.h.data() + f * sums.n_units, sums.n_units);
      t += Eigen::Map<const Vector>(sums.t.data() + f * sums.n_targets + first, last - first);
    }
    h /= n;
    t /= n;
  }
  Vector h, t;
  double n = 0.0;
};

void check_columns(const FoldSums& sums, Index first, Index last) {
  require(first >= 0 && first <= last && last <= sums.n_targets,
          "first and last must be columns of the targets");
}

Index strip_of(Index n_columns) {
  return std::min(strip / 4, std::max<Index>(n_columns, 1));
}

}  // namespace

RowMatrix whole_products(const FoldSums& sums, Index first, Index last, int n_threads,
                         Control& control) {
  const Index h = sums.n_units, q = sums.n_targets;
  check_columns(sums, first, last);
  const Means mean(sums, -1, first, last);
  RowMatrix out = RowMatrix::Zero(h, h);
  const Index width = strip_of(last - first);
  RowMatrix all(h, width);
  const int team = threads_for(h * h * width, grain, n_threads);
  for (Index c = 0; c < last - first; c += width) {
    const Index w = std::min(width, last - first - c);
    parallel_for(h, team, [&](Index i) {
      for (Index j = 0; j < w; ++j) all(i, j) = -mean.n * mean.h[i] * mean.t[c + j];
      for (Index f = 0; f < sums.n_folds; ++f) {
        const double* row = sums.ht.data() + (f * h + i) * q + first + c;
        for (Index j = 0; j < w; ++j) all(i, j) += row[j];
      }
    });
    add_rows_gram(all, w, out, team, control);
  }
  mirror(out);
  return out;
}

TargetProducts target_products(const FoldSums& sums, const ConstRowMatrixView& whole,
                               Index held_out, Index first, Index last, int n_threads,
                               Control& control) {
  const Index h = sums.n_units, q = sums.n_targets;
  require(held_out >= 0 && held_out < sums.n_folds, "held_out is out of range");
  require(whole.rows() == h && whole.cols() == h, "whole must be square in the units");
  check_columns(sums, first, last);
  const Means mean(sums, held_out, first, last), all(sums, -1, first, last);
  const double n_held = sums.count[held_out];
  const double* held_h = sums.h.data() + held_out * h;
  const double* held_t = sums.t.data() + held_out * q + first;

  TargetProducts out{RowMatrix::Zero(h, h), RowMatrix::Zero(h, h)};
  const Index width = strip_of(last - first);
  RowMatrix train(h, width), held(h, width);
  const Vector shift_h = all.h - mean.h, shift_t = all.t - mean.t;
  Vector along = Vector::Zero(h);  // both together times the shift of the targets' mean
  const int team = threads_for(h * h * width, grain, n_threads);
  for (Index c = 0; c < last - first; c += width) {
    const Index w = std::min(width, last - first - c);
    parallel_for(h, team, [&](Index i) {
      for (Index j = 0; j < w; ++j) train(i, j) = -mean.n * mean.h[i] * mean.t[c + j];
      for (Index f = 0; f < sums.n_folds; ++f) {
        if (f == held_out) continue;
        const double* row = sums.ht.data() + (f * h + i) * q + first + c;
        for (Index j = 0; j < w; ++j) train(i, j) += row[j];
      }
      const double* row = sums.ht.data() + (held_out * h + i) * q + first + c;
      for (Index j = 0; j < w; ++j) {
        const double m = mean.t[c + j];
        held(i, j) = row[j] - held_h[i] * m - mean.h[i] * held_t[c + j] + n_held * mean.h[i] * m;
        along[i] += (train(i, j) + held(i, j)) * shift_t[c + j];
      }
    });
    add_rows_gram(train, w, out.train, team, control);
    add_rows_gram(held, w, out.cross, team, control);
  }
  mirror(out.train);
  mirror(out.cross);
  // (B + B_held)(B + B_held)^T is that of all rows but for the shift of the means
  along -= all.n * shift_t.squaredNorm() * shift_h;
  const double twice = all.n * all.n * shift_t.squaredNorm();
  for (Index i = 0; i < h; ++i) {
    for (Index j = 0; j < h; ++j) {
      const double both = whole(i, j) + all.n * (along[i] * shift_h[j] + shift_h[i] * along[j]) +
                          twice * shift_h[i] * shift_h[j];
      out.cross(i, j) = 0.5 * (both - out.train(i, j) - out.cross(i, j));
    }
  }
  return out;
}

RowMatrix turned(const ConstRowMatrixView& a, const ConstMatrixView& u, int n_threads,
                 Control& control) {
  const Index h = a.rows(), r = u.cols();
  require(a.cols() == h && u.rows() == h, "a and u do not match");
  RowMatrix half(h, r), out(r, r);
  const int team = threads_for(h * h * r, grain, n_threads);
  const Index n_rows = (h + triangle_strip - 1) / triangle_strip;
  parallel_for(n_rows, team, control, [&](Index b) {
    const Index first = b * triangle_strip, k = std::min(triangle_strip, h - first);
    numerics::set_product(a.middleRows(first, k), u, half.middleRows(first, k));
  });
  const Index n_blocks = (r + triangle_strip - 1) / triangle_strip;
  parallel_for(n_blocks, team, control, [&](Index b) {
    const Index first = b * triangle_strip, k = std::min(triangle_strip, r - first);
    numerics::set_product(u.middleCols(first, k).transpose(), half.leftCols(first + k),
                          out.block(first, 0, k, first + k));
  });
  mirror(out);
  return out;
}

Vector count_hits(const ConstRowMatrixView& P, const ConstRowMatrixView& c,
                  const ConstRowMatrixView& Z, const ConstVectorView& mean, const Index* label,
                  int n_threads) {
  const Index n = P.rows(), n_classes = Z.cols();
  require(c.cols() == P.cols() && Z.rows() == P.cols() && mean.size() == n_classes,
          "P, c, Z and mean do not match");
  for (Index i = 0; i < n; ++i)
    require(label[i] >= 0 && label[i] < n_classes, "label is out of range");
  Vector hits(c.rows());
  const int team = threads_for(c.rows() * n * P.cols() * n_classes, grain, n_threads);
  parallel_for(c.rows(), team, [&](Index k) {
    // classes along the rows: the search for the largest then runs over samples side by side
    const RowMatrix scaled = c.row(k).asDiagonal() * Z;
    RowMatrix score(n_classes, n);
    numerics::set_product(scaled.transpose(), P.transpose(), score);
    score.colwise() += mean;
    std::vector<double> best(score.row(0).data(), score.row(0).data() + n);
    std::vector<Index> at(static_cast<std::size_t>(n), 0);
    for (Index j = 1; j < n_classes; ++j) {
      const double* row = score.row(j).data();
      for (std::size_t i = 0; i < best.size(); ++i) {
        at[i] = row[i] > best[i] ? j : at[i];
        best[i] = row[i] > best[i] ? row[i] : best[i];
      }
    }
    Index count = 0;
    for (Index i = 0; i < n; ++i) count += at[static_cast<std::size_t>(i)] == label[i] ? 1 : 0;
    hits[k] = static_cast<double>(count);
  });
  return hits;
}

}  // namespace retemper::phases
