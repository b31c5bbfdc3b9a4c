#include "retemper/perceptron/errors.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "retemper/core/error.hpp"
#include "retemper/numerics/panel_rule.hpp"
#include "retemper/numerics/vector_math.hpp"
#include "retemper/perceptron/averages.hpp"

namespace retemper::perceptron {

namespace {

namespace num = numerics;
namespace vm = numerics::vm;

double error_at(double cosine, double sine, double kappa) {
  if (cosine < 0.0) return 1.0 - error_at(-cosine, sine, kappa);
  if (kappa == 0.0) return std::atan2(sine, cosine) / 3.14159265358979323846;
  if (sine <= 0.0) return 0.0;
  const double c = cosine / sine;
  // ln of the integrand is concave: from kappa on it falls at least as fast as its first slope
  const auto log_value = [&](double t) {
    return -0.5 * t * (t + 2.0 * kappa) + vm::log_ndtr(-c * (kappa + t));
  };
  const double start = vm::log_ndtr(-c * kappa);
  const double rate = kappa + c * vm::hazard(-c * kappa);
  const double reach = std::min(45.0 / rate, 13.0 / std::sqrt(1.0 + c * c) + 13.0 / (1.0 + c));
  Vector edges = Vector::LinSpaced(17, 0.0, reach);
  const num::PanelRule rule(edges, num::Measure::length);
  double sum = 0.0;
  for (Index i = 0; i < rule.node().size(); ++i)
    sum += rule.weight()[i] * std::exp(log_value(rule.node()[i]) - start);
  constexpr double log_sqrt_2pi = 0.91893853320467274178;
  return std::exp(std::log(sum) + start - 0.5 * kappa * kappa - log_sqrt_2pi -
                  vm::log_ndtr(-kappa));
}

}  // namespace

Vector error_margin(const ConstVectorView& cosine, const ConstVectorView& sine, double kappa) {
  require(cosine.size() == sine.size(), "cosine and sine differ in length");
  Vector out(cosine.size());
  for (Index i = 0; i < out.size(); ++i) out[i] = error_at(cosine[i], sine[i], kappa);
  return out;
}

Vector odds_transform(const RowLaw& law, double q, double V, double width,
                      const ConstVectorView& t) {
  require(q > 0.0 && q < 1.0, "q must lie in (0, 1)");
  const Channel channel(law, RowKind::positive);
  const double root_q = std::sqrt(q);
  WallRule walls(0.0, field_cutoff(law));
  walls.add(channel, root_q, V);
  const num::PanelRule rule = std::move(walls).rule(width);
  const Index n = rule.node().size();
  const Index size = padded(n);
  Vector mean = Vector::Zero(size), log_w(size), back(size), g(size), dg(size);
  mean.head(n) = root_q * rule.node();
  channel.score(mean.data(), V, size, log_w.data(), g.data(), dg.data());
  mean = -mean;
  channel.score(mean.data(), V, size, back.data(), g.data(), dg.data());
  const Vector odds = (log_w - back).head(n);
  const Vector weight =
      2.0 * (rule.weight().array() * (0.5 * (log_w + back)).head(n).array().exp());
  Vector out(t.size());
  for (Index i = 0; i < t.size(); ++i) out[i] = weight.dot((t[i] * odds).array().cos().matrix());
  return out;
}

}  // namespace retemper::perceptron
