#include "arrays.hpp"
#include "modules.hpp"
#include "retemper/perceptron/channel.hpp"

namespace retemper::bindings {

namespace {

namespace pc = perceptron;

}  // namespace

void bind_perceptron(py::module_& parent) {
  auto m = parent.def_submodule("perceptron");
  py::enum_<pc::RowKind>(m, "RowKind")
      .value("unlabelled", pc::RowKind::unlabelled)
      .value("positive", pc::RowKind::positive)
      .value("negative", pc::RowKind::negative);
  py::class_<pc::RowLaw>(m, "RowLaw")
      .def(py::init([](bool is_cluster, double kappa, double sigma, double eta_u, double eta_l,
                       double mu, double offset) {
             const pc::RowLaw law{is_cluster ? pc::Law::cluster : pc::Law::margin,
                                  kappa,
                                  sigma,
                                  eta_u,
                                  eta_l,
                                  mu,
                                  offset};
             law.validate();
             return law;
           }),
           py::kw_only(), "is_cluster"_a, "kappa"_a, "sigma"_a, "eta_u"_a, "eta_l"_a, "mu"_a,
           "offset"_a);
  m.def(
      "channel_score",
      [](const pc::RowLaw& law, pc::RowKind kind, ConstVectorView omega, ConstVectorView V,
         int n_threads) {
        pc::Scores s = [&] {
          py::gil_scoped_release nogil;
          return pc::channel_score(law, kind, omega, V, n_threads);
        }();
        return std::make_tuple(std::move(s.log_w), std::move(s.g), std::move(s.dg));
      },
      "law"_a, "kind"_a, "omega"_a.noconvert(), "V"_a.noconvert(), "n_threads"_a);
}

}  // namespace retemper::bindings
