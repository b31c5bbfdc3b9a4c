"""The vocabulary: what every public name means, its unit, its sign and its domain.

One word has one meaning in the whole library. `WORDS` is the table; the conventions page is made
from it, the checks of parameters take their domains from it, and a test reads every public
signature, result field and estimator attribute against it.

A name that is not in the table is read by grammar: a trailing underscore marks a fitted attribute;
``<word>_stderr`` is its standard error, ``<word>_low`` and ``<word>_high`` the ends of its
confidence interval; ``<word>_path`` are its values along a path of strengths, ``<word>_curve`` its
values over numbers of labels; ``<word>_source`` and ``<word>_target`` are those of one task;
``scratch_<word>``, ``predicted_<word>`` and ``held_out_<word>`` say of what or how the word was
found; ``n_<words>`` is a number of them; a plural is a sequence of the word.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from retemper._validation import check_choice, check_integer, check_real

__all__ = [
    "SECTIONS",
    "SYMBOLS",
    "WORDS",
    "Domain",
    "Word",
    "check_parameter",
    "find_symbol",
    "find_word",
]


@dataclasses.dataclass(frozen=True)
class Domain:
    """Values a parameter may take.

    Parameters
    ----------
    low, high : float
        Ends of the interval.
    open_low, open_high : bool, default=False
        Whether an end is excluded.
    allow_inf : bool, default=False
        Whether an infinite value inside the interval is allowed.
    integer : bool, default=False
        Whether it is a whole number.
    choices : tuple of str or None, default=None
        The allowed names, instead of numbers.
    """

    low: float = -math.inf
    high: float = math.inf
    _: dataclasses.KW_ONLY
    open_low: bool = False
    open_high: bool = False
    allow_inf: bool = False
    integer: bool = False
    choices: tuple[str, ...] | None = None

    def check(self, value: Any, name: str) -> Any:
        """The value, converted; an error names the argument, the value and the domain."""
        if self.choices is not None:
            return check_choice(value, name, self.choices)
        if self.integer:
            if self.allow_inf and isinstance(value, float) and value == math.inf:
                return math.inf
            high = None if math.isinf(self.high) else int(self.high)
            return check_integer(value, name, low=int(self.low), high=high)
        return check_real(
            value, name, low=self.low, high=self.high, open_low=self.open_low,
            open_high=self.open_high, allow_inf=self.allow_inf,
        )  # fmt: skip

    def __str__(self) -> str:
        if self.choices is not None:
            return ", ".join(self.choices)
        if self.integer:
            most = f" up to {self.high:g}" if math.isfinite(self.high) else ""
            return f"integer from {self.low:g}{most}" + (", or inf" if self.allow_inf else "")
        left = "(" if self.open_low or math.isinf(self.low) else "["
        right = ")" if self.open_high or (math.isinf(self.high) and not self.allow_inf) else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}".replace("inf", "∞")


REAL = Domain()
NON_NEGATIVE = Domain(0.0)
POSITIVE = Domain(0.0, open_low=True)
SHARE = Domain(0.0, 1.0)
COUNT = Domain(0, integer=True)
AT_LEAST_ONE = Domain(1, integer=True)
AT_LEAST_TWO = Domain(2, integer=True)
MODERATE = Domain(0.0, 1e100)


@dataclasses.dataclass(frozen=True)
class Word:
    """One public name.

    Parameters
    ----------
    name : str
        As in signatures, fields and attributes.
    meaning : str
        What it is, with its sign where that could be doubted.
    unit : str, default=""
        Unit or normalisation.
    domain : Domain or None, default=None
        Values it may take as a parameter.
    systems : tuple of str, default=()
        The rooms that use it; empty for all.
    """

    name: str
    meaning: str
    unit: str = ""
    domain: Domain | None = None
    systems: tuple[str, ...] = ()


def _words(text: str, systems: tuple[str, ...], domains: dict[str, Domain]) -> tuple[Word, ...]:
    rows = [[cell.strip() for cell in line.split("|")] for line in text.strip().splitlines()]
    unknown = set(domains) - {row[0] for row in rows}
    assert not unknown, unknown
    return tuple(
        Word(name, meaning, unit, domains.get(name), systems) for name, meaning, unit in rows
    )


_DATA = """
X | rows: one sample each, one feature a column | features as given
y | labels of the rows | units of the label
X_eval | rows on which a network is watched; no training rows | features as given
y_eval | their labels | units of the label
Y | second set of rows of a kernel; several targets of a regression | as X; as y
n_samples | number of target samples (rows with labels) | count
n_features | number d of features | count
n_outputs | number of outputs | count
n_labels | number of labelled rows | count
others | most candidates that are run beside full fine-tuning and scratch | count
n_repeats | independent repeats of an experiment | count
n_iter | iterations done | count
classes | classes of the labels, sorted | as y
label | name of the column of labels | name
feature_names_in | names of the columns seen in fit | names
X_fit | rows of the fit | features as given
labels | labels, or names of lines and phases | as y
positive | labels counted as +1 | as y
negative | labels counted as -1 | as y
images | images as rows of pixels | pixel values
rows | numbers of rows, or rows of a table | index
features | which features a data set shows | name
drop | columns of a table that are left out | names
encoding | encoding of the characters of a table | name
decimal | sign before the decimals of numbers in text | sign
sep | sign between the fields of a table of text | sign
allow_pickle | whether files that run code when they are read are read | flag
groups | group of every row: rows of one group are never split | label
group | name under which components are reported together | name
task | contrast of classes, or kind of labels | as documented
sample_weight | weight of every row; equal weights change nothing | relative
class_weight | weight of every class | relative
source | what is started from: coefficients, model, function, predictions or data | see `Sources`
sources | several of them, by name or in a list | see `Sources`
source_coef | coefficients of the source | units of y per unit of X
coef | coefficients, of shape (n_features,) or (n_outputs, n_features) | units of y per unit of X
intercept | prediction at X = 0 | units of y
fit_intercept | whether an intercept is fitted | flag
standardize | whether columns are scaled to variance one before fitting | flag
centred | whether the mean over the Gaussian weights is removed | flag
random_state | seed; equal seeds give equal bits | None, int, Generator
n_jobs | threads; never changes a bit of the result | count
progress | called with (done, total), or a bar as those of tqdm; None shows a bar where somebody sees it, after five seconds, False none | callable
return_std | whether the spread of predictions is wanted too | flag
return_parts | whether the parts of the spread are wanted too | flag
include_noise | whether label noise counts in the spread | flag
input_features | names of the columns | names
on_failure | what to do about points without a solution: warn, raise, ignore | name
tol | relative accuracy at which an iteration stops | relative
max_iter | most iterations | count
max_steps | most steps of an integrator | count
rtol | relative tolerance of an integrator | relative
atol | absolute tolerance of an integrator | units of the state
confidence | coverage that intervals are made for | probability
solver | algorithm used | name
method | algorithm used | name
mode | kind of training | name
start | where an iteration or a training starts | name
kind | kind of thing | name
dtype | floating-point type of stored arrays | name
precision | floating-point type of sums | name
"""

_RESULTS = """
model | the model that was solved or simulated | dataclass
status | how an iteration ended | name
residual | what is left of the equation at the end | relative
duality_gap | distance to the optimum, as the solver certifies | as loss, or over the penalty
rank | number of directions the rows span | count
message | what happened, in a sentence | text
stderr | standard error of a mean over repeats, by quantity | units of the quantity
samples | values of every repeat, by quantity | units of the quantity
quadrature_error | bound on the error of the integrals | units of the quantity
loss | mean loss over rows: squared error, or minus log probability | units of y², or nats
loo | leave-one-out mean of the estimator's own loss | as loss
loo_residual | leave-one-out residual of every row | units of y
loo_loss_rows | leave-one-out loss of every row | as loss
error_rate | share of wrong signs | share
score_scale | factor of scores that makes probabilities of them right | dimensionless
loo_error_rate | share of rows that leave-one-out gets wrong | share
cv_error | cross-validated mean of the estimator's own loss | as loss
gcv | generalised cross-validation estimate of the mean squared error | units of y²
gain | loss from scratch minus loss with the source: positive helps | as loss
relative_gain | gain over loss from scratch: positive helps, at most 1 | share
verdict | what the data say about a source: helps, hurts, same, undecided | name
use | what to do with a source: scratch, as is, fine-tune, rescaled, average | name
error | predicted or measured error | as loss
test_error | mean squared error on new rows, label noise included | units of y²
training_error | mean squared error on the training rows, label noise included | units of y²
train_loss | mean loss of the training rows over every epoch | as loss
train_error | mean squared error on the training rows | units of y²
mse | mean squared error of the coefficients | units of a coefficient²
null_mse | the error of predicting zero | as mse
risk | excess risk (w - θ)ᵀΣ(w - θ): no factor ½, no label noise | units of y²
bias | squared error of the mean prediction | units of y²
variance | mean squared spread of predictions; of a row, its variance | units of y²
variances | variances of the coordinates within a class, or of the parts of a mixture | units of the quantity²
mean | mean prediction, or mean of a variable | units of the quantity
forgetting | squared change of predictions of the source task; of a network over their variance | units of a coefficient²; relative
accuracy | share of rows predicted right | share
cosine | cosine of the estimate with the true direction | share
r2 | 1 - residual over total sum of squares | share
probability | probability | share
p_value | probability of the data under no effect | share
phase | of a problem: undetectable, easy, hard, beyond; of training: I, II, III | name
regime | of a feature: I rich and blind to the source, II lazy and tied to it, III lazy and blind to it, IV rich and tied to it; frozen | name
weights | weights of a network, of members of an average, of several sources, or of regimes | as documented
theory | predicted values | units of the quantity
simulation | measured values | units of the quantity
values | values as given | units of the quantity
best | the best of what was tried | index or name
table | all that was tried | frame or list
scratch | training without a source | name, or loss
fit | a fitted function or curve | units of the quantity
path | results along a path of strengths; the place of a file | object
curve | results over one axis | units of the quantity
predicted | value expected before it is measured | as loss
log_evidence | log evidence of the rows | nats
estimator | fitted estimator that does what is found best | object
held_out | measured on rows that were left out | as loss
errors | error of every choice | as loss
"""

_STRENGTHS = """
ridge | λ in (1/n)‖y - Xw‖² + λ‖w - w₀‖², n the number of rows; for a kernel nλ on its diagonal; for log loss mean loss + (λ/2)‖w - w₀‖² | units of an eigenvalue of the covariance
used_ridge | the ridge with which a risk was found, given or the best | units of an eigenvalue of the covariance
relative_ridge | ridge over the mean eigenvalue of the covariance | dimensionless
effective_ridge | κ, the self-consistent ridge in high dimension | units of an eigenvalue of the covariance
l1 | strength of the absolute penalty towards the source, (1/2n)‖y - Xw‖² + l1‖w - w₀‖₁ | units of a covariance of X and y
gamma | coupling of the target's first layer to the source's; 0 is scratch, inf frozen, or shared | as lam0
mu | explicit strength of the diagonal network's penalty; 0 is gradient flow | units of squared error per penalty
effective_mu | strength of the penalty in the scalar channel of high dimension: mu over (alpha - dof) | as mu
width | number of hidden units | count
depth | number of weight matrices; 1 is plain linear, inf is allowed | count
source_scale | number the source is multiplied with before it is used | dimensionless
best_scale | the best such number | dimensionless
source_mixing | matrix that the outputs of a source are multiplied with | dimensionless
optimal_scale | the best such number in theory | dimensionless
scale | number the source is multiplied with; for diagonal networks, scale of every feature | dimensionless
metric | positive definite matrix of the penalty | units of the covariance
noise | standard deviation of the label noise | units of y
noise_pt | the same in pre-training | units of y
label_noise | standard deviation of noise that is drawn anew for every label of every step of training | units of y
temperature | variance of the label noise | units of y²
alpha | samples per feature, n_samples / n_features | dimensionless
step_size | step of gradient descent; None is gradient flow | time
learning_rate | step of stochastic gradient descent | time
times | times at which training is looked at: steps times step size | time
stop_time | time at which training is stopped | time
init_scale | scale of the weights before training; for diagonal networks c = w² + v² | units of a weight; of a coefficient
momentum | momentum of stochastic gradient descent | dimensionless
weight_decay | pull of the weights towards zero in every step | inverse time
batch_size | rows in a batch | count
n_passes | passes over the rows, drawn with replacement in every step | count
row_shares | shares of the rows in each of several classes | share
row_noise | standard deviation of the label noise of each class of rows | units of noise
row_scale | number that multiplies the inputs of each class of rows | dimensionless
row_weight | weight of each class of rows in training; a common factor changes nothing | relative
spectrum | eigenvalues of the covariance of a row; for diagonal networks, of D times it | units of X²
breakpoints | points at which a density jumps or has a kink | as its argument
df | degrees of freedom of Student's law | count
lr_ratio | learning rate of the first layer over that of the read-out | dimensionless
damping | share of the old value kept in an iteration | share
"""

_LINEAR = """
theta_target | coefficients of the target teacher | units of y per unit of X
theta_source | coefficients of the source teacher | units of y per unit of X
cov | covariance of a row | units of X²
df1 | tr Σ(Σ + κ)⁻¹ | count
df2 | tr Σ²(Σ + κ)⁻² | count
risk_scratch | excess risk without a source | units of y²
risk_optimal | excess risk at the best scale | units of y²
risk_zero_shot | excess risk of the source as it is | units of y²
risk_bound | bound of Shachaf et al. on the risk | units of y²
bound | value of a bound | units of y²
bound_k | number of directions the bound splits off | count
quadratic_form | rᵀK⁻¹r of residuals r and kernel K | units of y²
jitter | what was added to a kernel's diagonal to factor it | units of the kernel
unseen | columns that training does not see | index
entries | law of the entries of a row: gaussian, rademacher, student | name
factors | weight matrices of a deep network | units of a weight
fit_norm | norm of the fitted coefficients | units of coef
row_norm | norm of their part in the span of the rows | units of coef
null_norm | norm of their part orthogonal to the rows | units of coef
a2 | squared norm of the least-norm correction | units of coef²
p2 | squared norm of the source in the span of the rows | units of coef²
q2 | squared norm of the source orthogonal to the rows | units of coef²
source_kind | where the source comes from: none, fixed, finite, several | name
source_function | the source as a function of the rows, if it is not linear | callable
fine_tuned | errors of the source fine-tuned | as loss
zero_shot | errors of the source as it is | as loss
rescaled | errors of the source times its best scale | as loss
source_norm | norm of the source over that of the target | dimensionless
angle | angle between source and target | radians
boundary | where fine-tuning and scratch are equal | as the axis
points | points of a diagram | as the axes
boundary_alpha | samples per feature of the points of a boundary | dimensionless
epsilon | part of the target teacher orthogonal to the source | units of coef
gain_ridge | ridges at which fine-tuning and scratch were compared | as ridge
signs | fixed output signs of hidden units | ±1
init_sd | standard deviation of initial weights | units of a weight
change | change of the weights in training | units of a weight
dual_coef | coefficients of the kernel expansion | units of y
mixing_weights | weights of the sources in a mixture | dimensionless
mixing_error | leave-one-out loss of that mixture | as loss
profile | share of the target's signal a source explains, direction by direction | share
lean | what an undecided verdict leans to | name
samples_saved | rows from scratch that the source replaces | count
learning_curve | loss against number of labels | as loss
scratch_curve | the same from scratch | as loss
cv | folds of cross-validation | count or splitter
probe | a ridge regression on given features | object
probe_error | loss of a probe | as loss
recommendation | what to do, in a sentence | text
"""

_DIAGONAL = """
rho_pt | density of the source coefficients | share
rho_ft | density of the target coefficients | share
rho_shared | probability that a source-active coefficient is active in the target | share
rho_new | probability that a source-inactive coefficient is active in the target | share
omega | share of the active target coefficients that are active in the source | share
a_pt | size of the active source coefficients | units of coef
var_ft | variance of the active target coefficients | units of coef²
alpha_pt | pre-training samples per feature | dimensionless
shared | law of coefficients active in both tasks: independent, aligned, opposite | name
balance | (w² - v²)/c of the layers before pre-training | dimensionless
readout_scale | scale of the read-out after its reset | units of a weight; for modules, of a new random read-out
rebalance | how the reset treats the two signs of a weight: sum, mean, none | name
components | parts of a joint law of source and target coefficients | tuple
weight | probability of a part; weight in an average | share
source_mean | mean of a source coefficient | units of coef
source_var | variance of a source coefficient | units of coef²
target_mean | mean of a target coefficient | units of coef
target_var | variance of a target coefficient | units of coef²
covariance | covariance of source and target coefficient | units of coef²
target_law | law of a target coefficient, by its density | `CoefficientLaw`
pdf | probability density: a function of arrays | 1 / units of its argument
tau | variance of the noise of the effective scalar channel | units of coef²
dof | degrees of freedom per feature | share
dual | dual variable of every row: the residual integrated over training time | units of y times time
centre | point around which the penalty is taken | units of coef
coef_start | coefficients the solver starts from | units of coef
misfit | norm of the part of y that no coefficients reach, over that of y | share
n_factor | matrix factorisations done | count
beta | a coefficient | units of coef
beta_star | coefficients of the teacher | units of coef
c | fine-tuning scale of a feature | units of coef
c_ft | fine-tuning scale of every feature | units of coef
c_new | fine-tuning scale of features outside the source | units of coef
c_source | fine-tuning scale of features of the source | units of coef
l_order | slope of the log penalty against log coefficient: 1 selects, 2 spreads | dimensionless
margin | least product of label and prediction over rows | as predictions
support | share of the rows that lie on the margin | share
rms | root of the mean square of the coefficients | units of a coefficient
marginal_order | slope of the log of the penalty's derivative against log coefficient, plus one | dimensionless
elasticity | change of log scale per change of log source coefficient | dimensionless
pd | pre-training dependence: (1 - order) times elasticity | dimensionless
rich | threshold of the rich label | dimensionless
dependent | threshold of the dependent label | dimensionless
blind | threshold of the blind label | dimensionless
w_plus | first-layer weights of the positive path | units of a weight
w_minus | first-layer weights of the negative path | units of a weight
v_plus | read-out weights of the positive path | units of a weight
v_minus | read-out weights of the negative path | units of a weight
checkpoint | weights of a network | object
observed | half-learning times of gradient descent | time
amplitude | size of the label in a probe | units of y
spread | half width of the probe in log loadings | dimensionless
source_level | size of the source coefficients in a probe | units of coef
stride | steps between two records | count
shares | values of 1 + balance that are tried | dimensionless
size | size of a marker | dimensionless
x | horizontal coordinate | as its axis
x_name | name of the horizontal axis | name
y_name | name of the vertical axis | name
null_loo | leave-one-out error of predicting the mean | units of y²
gain_per_sample | fall of the test error with one more label: positive helps | units of y²
regime_weights | weights of the regimes I, II and III of every feature | share
is_valid | whether a probe's assumptions held | flag
leave_one_out | whether leave-one-out values are wanted | flag
"""

_PERCEPTRON = """
kappa | margin: the density of the field is cut between -kappa and kappa | standard deviations of a feature
kappa_true | margin of the data, where the student assumes another | as kappa
alpha_u | unlabelled rows per feature | dimensionless
alpha_l | labelled rows per feature | dimensionless
sigma | softness: standard deviation of the noise on the field before it is cut | as kappa
second_moment | mean square of a weight: the variance of the field | weights²
eta | share of wrong rows: without a margin, or with a flipped label | share
eta_u | share of unlabelled rows without a margin | share
eta_l | probability that a label is flipped | share
channel | law of the rows along the hidden direction, or of the label given its field | name, or `Channel`
channel_true | channel of the data, where the student assumes another | as channel
prior_true | law of the weights behind the data, where the student assumes another | as prior
log_density | log probability of a label y given its field h | nats
h | field of a row, x @ w / sqrt(n_features) | as kappa
label_range | ends of the labels, where they are numbers | as y
is_labelled | whether the side of the rows is known | flag
steepness | slope of the log-odds in the field | inverse field
law | law of the noise: gaussian, laplace, student | name
density | probability that a weight is not zero | share
information | mutual information of weights and labels | nats per feature
cluster_mean | half the distance of the two clusters | standard deviations of a feature
prior | law of the hidden weights: sphere, binary, gaussian, sparse, laplace | name, or `Prior`
q | squared overlap of two posterior samples | share
m | overlap of the posterior mean with the true direction | share
free_entropy | log evidence per feature | nats
replicon | stability of the solution: below 1 is stable | dimensionless
error_margin | probability of a wrong label for a row with a margin | share
error_gauss | the same for a Gaussian row | share
label_equivalent | labelled rows per feature that alone give the same cosine | dimensionless
branches | all solutions | tuple
branch | which solution: reachable, equilibrium, informed | name
reachable | solution that message passing finds | object
equilibrium | solution of the largest free entropy | object
informed | solution found from the truth | object
hard | whether reachable and equilibrium differ | flag
alpha_c | unlabelled rows per feature where the direction becomes detectable | dimensionless
alpha_sp_minus | unlabelled rows per feature where the good branch appears | dimensionless
alpha_it | where both branches have equal evidence | dimensionless
alpha_alg | where the poor branch ends and message passing jumps | dimensionless
q_sp_minus | overlap at alpha_sp_minus | share
q_it | overlap at alpha_it, on either side | share
q_alg | overlap at alpha_alg | share
first_order | whether a branch of large overlap appears by a jump | flag
q_min | smallest overlap of a curve | share
q_max | largest overlap of a curve | share
max_load | largest number of rows per feature of a curve | dimensionless
refine | halvings of cells at boundaries | count
covariates | second moments of the features of student and teacher | `Covariates`
is_diagonal | whether the features themselves are uncorrelated | flag
alignment | summed squared covariance of features with the teacher's field | fields² times features²
student_cov | covariance of the student's features | features²
cross_cov | covariance of the teacher's features with the student's | features²
teacher_cov | covariance of the teacher's features | features²
overlaps | cosine of every source with the teacher | share
stretch | variance of the features along every source | dimensionless
multiplicity | share of the features at each eigenvalue; 0 is a single direction | share
gram | cosines between the sources | share
sizes | numbers of features | count
jump_share | share of runs whose overlap has jumped | share
cosine_cut | cosine above which a run has jumped | share
alpha_half | rows per feature at which half of the runs jump | dimensionless
shift | alpha_half minus alpha_alg of many features | dimensionless
value | which number of a branch a phase diagram shows | name
init | where an iteration starts | name
exponent | rate of an exponential law | dimensionless
log_w | log weight of the channel | nats
g | its derivative in the mean field | inverse field
dg | its second derivative | inverse field²
converged | whether an iteration converged | flag
eigenvalue | largest eigenvalue of the second moments of the rows | dimensionless
eigenvalue_edge | the largest that rows without structure would have | dimensionless
is_detectable | whether the eigenvalue is beyond the edge | flag
is_trustworthy | whether the assumed law of the rows passes its test | flag
error_now | predicted probability of a wrong label on new rows | share
error_fit | the same from the overlap of the fit itself | share
error_with_labels | the same with that many labels more | share
error_with_twice_the_labels | the same with twice as many labels | share
sign_risk | probability that the direction has the wrong sign | share
labels_to_leave_hard_phase | labels after which message passing succeeds | count
worth_of_unlabelled | labels that the unlabelled rows replace | count
ks_statistic | Kolmogorov-Smirnov distance of the fields to their law | share
ks_pvalue | its probability if the law holds | share
offset | centre of the slab, in standardised features | as kappa
side | class of every row drawn from a model, of unlabelled rows too | 0 or 1
w_true | weights behind rows drawn from a model, of squared norm n_features | dimensionless
cavity_fields | field of every row without that row | as kappa
transduction | given or inferred classes of the training rows | as y
has_labels | whether labels were given | flag
V | posterior variance of the weights | dimensionless
unlabelled | rows without labels | features as given
unlabelled_as | what stands in y for a row without label | as a label, or None
diagram | phase diagram | object
"""

_WIDENET = """
lam0 | prior precision of a first-layer weight | inverse weight²
lam1 | prior precision of a read-out weight | inverse weight²
target | target data (X, y) | pair
test | test data (X, y) | pair
Q_s | renormalisation of the source's read-out kernel; 1 is infinite width | dimensionless
Q_t | the same of the target's, within a run | dimensionless
Q_tt | the same of the target's, between runs | dimensionless
Q_st | the same between source and target | dimensionless
delta | Q_t - Q_tt: variance over read-outs within a source run | dimensionless
thermal | variance of the posterior in the prediction | units of y²
quenched | variance over source runs in the prediction | units of y²
samples_per_dimension | source samples per input dimension; beyond 2 the theory may fail | dimensionless
weight_correlation | correlation of the weights of two networks | share, -1 to 1
two_runs | kernel of two target runs that share a source | dimensionless
cross | kernel between source and target | dimensionless
test_two_runs | kernel of two runs at test points, and its diagonal | dimensionless
test_cross | kernel between source and test points | dimensionless
control | the same path with random features as anchor | object
knowledge | gain over the random anchor: positive helps | as loss
frozen_gain | gain of frozen features over scratch: positive helps | as loss
sampled | sampled networks on a path | object
sample_gammas | couplings at which networks are sampled | as gamma
r_hat | potential scale reduction of the chains; near 1 is converged | dimensionless
ess | effective number of independent draws | count
acceptance | share of accepted proposals | share
"""

_PHASES = """
H | hidden features of a layer, rows as samples | as the network gives
hh | second moments of H | as H²
ht | moments of H with targets | as H times target
shift_h | what was subtracted from H | as H
shift_t | what was subtracted from targets | as the target
fuv | fraction of the input variance that a layer does not explain | share
fuv_init | fuv of a random layer | share
fuv_early | fuv of the row space of the class means | share
fuv_late | fuv of the row space of least squares | share
fuv_star | smallest fuv | share
fuv_floor | fuv at the relative ridge 1e-2: what is there at a usable amplitude | share
r2_floor | r2 of a probe at the relative ridge 1e-2 | share
accuracy_floor | accuracy of a probe at the relative ridge 1e-2 | share
fuv_logit | fuv of the logit | share
fuv_prob | fuv of the probability | share
t_star | time of the smallest fuv | time
minima | times of local minima of fuv | time
has_fall | whether fuv falls before it rises | flag
valid | where a forecast holds | flags
task_r2 | r2 of a task's labels from the layer | share
norm | norm of the weights | units of a weight
signal | class signal of a group of features; which curve raised an alarm | features as given
class_noise | standard deviation of the noise of a coordinate | features as given
shared_noise | standard deviation of the noise that coordinates of a group share | features as given
noise_sd | standard deviation of a coordinate without signal | features as given
n_noise | number of coordinates without signal | count
relative_noise_var | variance of an independent noise on every unit of a layer | mean variance of the units
total_variance | trace of the covariance of a row | features² as given
w0 | weights at time 0 | units of a weight
readout | read-out weights | units of a weight
readout0 | read-out weights at time 0 | units of a weight
teacher | weights of the hidden units of the network that gives the labels | units of a weight
teacher_readout | its read-out weights | units of a weight
train_readout | whether the read-out is trained too | flag
hidden_cov | covariances of what enters the hidden units | features² times weights²
teaching_cov | covariances of what enters the hidden units and the teacher's | as hidden_cov
W0 | weight matrix at time 0 | units of a weight
drop_common | whether the mean over classes is left out | flag
targets | what a layer is asked to reconstruct, by name | arrays
task_weights | weight of every target coordinate | relative
sketch | number of random projections of the targets | count
folds | folds of cross-validation | count or labels
fold | fold of every row | index
T | targets, a row for every sample | as given
f | number of a fold | index
with_basis | whether eigenvectors are wanted too | flag
route | how a score was computed | name
probes | scores of label probes | by name
is_upper_bound | whether a score bounds fuv from above | flag
layer | name of a layer, or its number from 1 up | name or count
layers | layers that are watched | names
layer_names | their names | names
alarm_layers | layers that may raise an alarm | names
alarm_layer | layer that raised the alarm | name
aux | further labels to probe | by name
detector | detector of phases | object
detectors | detector of every layer | by name
n_sigmas | standard errors that a change must exceed | count
min_stderr | smallest standard error that is believed | share
relative | change relative to the curve that counts | share
persistence | checkpoints for which a change must last | count
rise_threshold | rise that raises an alarm | share
n_bootstrap | bootstrap samples | count
steps | training steps of the checkpoints | count
step | training step of a checkpoint | count
recommended_step | step of the checkpoint to keep | count
recommended_by | what that step was chosen by: target, source or fuv | name
alarm_step | step of the alarm | count
warning_step | step of an early warning | count
turning_step | step at which fuv turns | count
turning_interval | interval of that step | count
alarm | alarm, or None | object
early_warning | whether an early warning was raised | flag
rise_warning | whether a rise was seen | flag
fall_confirmed | whether a fall was confirmed | flag
history | scores by step | by name
transfer | accuracy on the task transferred to | share
adam_raw | score of a decoder trained by Adam on raw features | share
adam_standardised | score of a decoder trained by Adam on standardised features | share
background | variance of the background's colour | share
colour | accuracy of a probe for the colour | share
correlation | correlation of colour and label | share
data | name of a data set; a pair (X, y) | name
part | part of a data set: train or test | name
use_groups | whether rows of one image stay together | flag
hidden | widths of the hidden layers | counts
checkpoints | steps at which weights are kept; the weights themselves, by step | count; by step
monitor | what watches the training | object
network | a network | object
module | a PyTorch module; a module of Python | object
inputs | what the module is called with | tensor
pool | how positions of a feature are averaged | name
stop_on_alarm | whether training ends at an alarm | flag
label_frequencies | share of resampled curves in which a checkpoint is in phase I, II, III | share
parameters | parameters of the network | arrays
levels | heights of dotted lines | as the axis
"""

_NETWORKS = """
heads | whether outputs share the hidden layers, or are networks of their own: shared, independent | name
coupling | whether a source that pulls feels its target: one_way, elastic | name
activation | activation of the hidden units, or any vectorised callable in `retemper.widenet`; relu or tanh in `MLPTrainer` | name or callable
n_hidden_layers | number L of hidden layers of a nonlinear network | count
kernel_movement | 1 minus the cosine of the tangent kernels before and after training | share
Q_layers | order parameters of all hidden layers, from the first up; the last is Q_t | dimensionless
"""

_MODULES = """
head | read-out of a network: the linear layer whose inputs are the features | name
recipe | way to fine-tune: probe, the last blocks, full | name
recipes | every such way, by name | by name
kernel | kernel matrix of the rows | dimensionless
body | kernel of all parameters below the head | squared gradient
blocks | kernel of the parameters of every block, from the inputs up | squared gradient
share | share of the body's kernel in the mixture | share
vectors | eigenvectors of the kernel | orthonormal
predictions | predictions of left-out rows | as y
n_parameters | trainable parameters of every block | count
epoch | passes over the rows, of the weights that were kept | count
max_epochs | most passes over the rows | count
patience | passes without a better held-out loss after which training ends | count
held_out_share | share of rows that choose the epoch | share
test_share | share of rows that a split tests on | share
pull | strength of the pull of a network's weights to the pre-trained ones | 1 / step of the optimiser
refit | whether training is repeated on all rows after the held-out ones chose its length | flag
n_forward | rows sent forward through a network | count
n_backward | rows sent backward through a network; through some of its blocks, their share | count
candidate | one use of one source | object
excess | loss of a choice over that of the best | as loss
before | a module before fine-tuning | object
after | a module after it | object
drift | norm of the change of weights over their norm before | relative
direction_cosine | cosine of the weights before and after | share
null_cosine | mean of that cosine for permuted weights; its stderr is their standard deviation | share
cka | centred kernel alignment of features before and after, debiased | share
null_cka_stderr | standard deviation of cka for permuted rows | share
reseeded_drift | drift of weights drawn anew | relative
reseeded_cka | cka with networks whose weights are drawn anew | share
inputs_source | inputs of the source's rows | tensor
rank_before | effective rank (Σλ)²/Σλ² of features before fine-tuning | count
rank_after | the same after it | count
kernel_rows | rows of which the tangent kernel is compared | count
"""

_ADVISOR = """
advice | what is advised | object
candidates | every use of every source | tuple
choice | the chosen candidate | name
headline | the answer in a sentence | text
initialisation | which initialisation, in a sentence | text
opinions | what every system says | tuple
system | name of a system | name
systems | names of systems | names
budget | number of labels that could be had | count
budget_error | error expected with that many labels | as loss
target_error | error that is wanted | as loss
labels_needed | labels needed for it | count
scoring | the loss that decides | name
labels_to_decide | labels at which the gain seen would be significant | count
p_helps | probability of beating scratch on new rows, calibrated on other tasks | probability
labels_saved | labels from scratch that a source replaces | count
action | what an opinion would have one do | name
record | how often opinions of a system were right on the suite | text
disagreements | opinions that contradict what was measured | tuple
duplicate_of | earlier source with the same predictions | name
flags | what a reader should know | texts
error_name | which error is shown | name
loss_name | which loss decides | name
unit | unit of a number | text
simulate | whether the experiment is run beside the theory | flag
seconds | time spent | seconds
members | estimators of an average | tuple
measured | whether a value was measured or continued | flag
advised | error of what was advised | as loss
held_out_gain | gain measured on held-out rows: positive helps | as loss
verdicts | verdict of every repeat | names
agreement | theory against experiment | object
comparisons | theory against experiment, by case | by name
models | models by name | by name
"""

_GENERAL = """
name | name | text
names | names | texts
title | title | text
text | text | text
caption | caption of a figure or table | text
summary | answer in a sentence or two | text
footer | small print | text
paragraphs | text of a section | texts
sections | parts of a report | objects
figure | figure that axes belong to | matplotlib
tables | tables of a section | objects
header | names of columns | texts
alternative | description for those who cannot see it | text
svg | a drawing | text
is_small | whether a figure is drawn for narrow pages | flag
code | lines to copy | text
out | file or folder that is written | path
folder | a folder | path
ax | axes to draw on | matplotlib
axes | fields of a model to sweep, with their values; axes of a figure | mapping
fields | fields of a model that results are derived by | names
quantities | names of result fields | names
quantity | name of a result field | name
report | what an estimator found | object
callback | called in every step | callable
forecast | what theory predicts before it is measured | as measured
simulated | places at which experiments stand beside the theory | as the axis
axes_and_fixed | fields on the two axes, and values of the others | by name
color | colour of everything that a display draws | name
options | further options | by name
settings | options of a call; cases of a display | by name, or list
arguments | words of a command line | texts
obj | a public object | object
fn | function of the points of a grid | callable
grid | values of every parameter | by name
seeds | seeds of the repeats of a point | int
scheduler | address of a cluster's scheduler | text
count | number of things | count
"""

#: Sections of the table, in the order of the conventions page.
SECTIONS: dict[str, tuple[Word, ...]] = {
    "Data and calls": _words(
        _DATA,
        (),
        {
            "n_samples": COUNT,
            "n_features": AT_LEAST_ONE,
            "n_repeats": AT_LEAST_TWO,
            "tol": POSITIVE,
            "max_iter": AT_LEAST_ONE,
            "confidence": Domain(0.0, 1.0, open_low=True, open_high=True),
        },
    ),
    "Results": _words(_RESULTS, (), {}),
    "Strengths and scales": _words(
        _STRENGTHS,
        (),
        {
            "gamma": Domain(0.0, allow_inf=True),
            "mu": MODERATE,
            "width": Domain(2.0, allow_inf=True),
            "depth": Domain(1, allow_inf=True, integer=True),
            "noise": MODERATE,
            "noise_pt": MODERATE,
            "label_noise": MODERATE,
            "temperature": NON_NEGATIVE,
            "alpha": Domain(0.0, 1e100, open_low=True),
            "init_scale": NON_NEGATIVE,
            "relative_ridge": MODERATE,
            "step_size": POSITIVE,
            "learning_rate": POSITIVE,
            "momentum": Domain(0.0, 1.0, open_high=True),
            "weight_decay": NON_NEGATIVE,
            "batch_size": AT_LEAST_ONE,
            "damping": Domain(0.0, 1.0, open_high=True),
        },
    ),
    "linear": _words(
        _LINEAR,
        ("linear",),
        {
            "entries": Domain(choices=("gaussian", "rademacher", "student")),
        },
    ),
    "diagonal": _words(
        _DIAGONAL,
        ("diagonal",),
        {
            "rho_pt": SHARE,
            "rho_ft": Domain(0.0, 1.0, open_low=True),
            "rho_shared": SHARE,
            "rho_new": SHARE,
            "omega": SHARE,
            "a_pt": Domain(0.0, 1e100, open_low=True),
            "var_ft": MODERATE,
            "alpha_pt": Domain(0.0, open_low=True, allow_inf=True),
            "shared": Domain(choices=("independent", "aligned", "opposite")),
            "balance": Domain(-1.0, 1.0),
            "readout_scale": Domain(0.0, 1e150),
            "weight": SHARE,
            "source_mean": Domain(-1e100, 1e100),
            "source_var": MODERATE,
            "target_mean": Domain(-1e100, 1e100),
            "target_var": MODERATE,
        },
    ),
    "perceptron": _words(
        _PERCEPTRON,
        ("perceptron",),
        {
            "kappa": Domain(0.0, 30.0),
            "kappa_true": Domain(0.0, 30.0),
            "alpha_u": MODERATE,
            "alpha_l": MODERATE,
            "sigma": Domain(0.0, 1e6),
            "eta_u": Domain(0.0, 1.0, open_high=True),
            "eta_l": Domain(0.0, 0.5, open_high=True),
            "channel": Domain(choices=("margin", "cluster")),
            "cluster_mean": Domain(0.0, 20.0),
            "prior": Domain(choices=("sphere", "binary")),
        },
    ),
    "widenet": _words(
        _WIDENET,
        ("widenet",),
        {
            "lam0": POSITIVE,
            "lam1": POSITIVE,
            "weight_correlation": Domain(-1.0, 1.0),
        },
    ),
    "phases": _words(
        _PHASES,
        ("phases",),
        {
            "n_noise": COUNT,
            "noise_sd": MODERATE,
            "relative_noise_var": NON_NEGATIVE,
            "n_sigmas": NON_NEGATIVE,
            "min_stderr": NON_NEGATIVE,
            "relative": NON_NEGATIVE,
            "persistence": AT_LEAST_ONE,
            "rise_threshold": NON_NEGATIVE,
            "n_bootstrap": COUNT,
        },
    ),
    "Networks": _words(
        _NETWORKS,
        ("linear", "widenet", "phases"),
        {
            "activation": Domain(
                choices=("erf", "relu", "gelu", "linear", "tanh", "silu", "sine", "softplus")
            ),
            "n_hidden_layers": AT_LEAST_ONE,
        },
    ),
    "PyTorch modules": _words(_MODULES, ("networks",), {}),
    "advisor": _words(_ADVISOR, ("advisor",), {}),
    "Reports, files and figures": _words(_GENERAL, (), {}),
}

_SYMBOLS = {
    "linear": r"""
n_features | d
n_samples | n
n_samples_source | n_S
cov | \Sigma
spectrum | \lambda_i
cov_source | \Sigma_S
theta_target | \theta
theta_source | \theta_S
source_coef | w_0
noise | \sigma
noise_source | \sigma_S
ridge | \lambda
ridge_source | \lambda_S
effective_ridge | \kappa
df1 | \mathrm{df}_1
df2 | \mathrm{df}_2
risk | R
bias | B
variance | V
risk_scratch | R(0)
risk_optimal | R(c^\star)
risk_zero_shot | R_0
training_error | \psi
source_scale | c
optimal_scale | c^\star
depth | L
stop_time | t
step_size | \eta
batch_size | b
n_passes | n_p
mixing_weights | a_k
row_shares | \pi_a
row_noise | \sigma_a / \sigma
row_scale | \varsigma_a
row_weight | \omega_a
a2 | a^2
p2 | p^2
q2 | q^2
""",
    "diagonal": r"""
n_features | D
n_samples | n
alpha | \alpha
alpha_pt | \alpha_{PT}
coef | \beta
source | \beta_{PT}
rho_pt | \rho_{PT}
rho_ft | \rho_{FT}
omega | \omega
a_pt | a
var_ft | v
init_scale | c
depth | L
balance | \lambda
readout_scale | \gamma
c_ft | c_d
centre | \beta_0
dual | s
mu | \mu
effective_mu | \mu_e
noise | \sigma
noise_pt | \sigma_{PT}
label_noise | \delta
step_size | \eta
tau | \tau
mse | E
test_error | E + \sigma^2
margin | \vartheta
support | P
l_order | \ell
marginal_order | \ell_m
elasticity | \mathcal E
pd | \mathrm{PD}
""",
    "perceptron": r"""
n_features | N
kappa | \kappa
kappa_true | \kappa_0
alpha | \alpha
alpha_u | \alpha_u
alpha_l | \alpha_l
sigma | \varsigma
eta_u | \eta_u
eta_l | \eta_l
h | h
coef | w
w_true | w^0
mean | \omega
variance | V
log_w | \ln W
g | g
dg | g'
q | q
m | m
cosine | R
free_entropy | \phi
replicon | \Lambda
cluster_mean | \mu
ridge | \lambda
error_margin | \varepsilon
error_gauss | \varepsilon_G
""",
    "widenet": r"""
n_features | N_0
width | N_1
activation | \sigma
n_hidden_layers | L
lam0 | \lambda_0
lam1 | \lambda_1
temperature_source | T_s
temperature_target | T_t
gamma | \gamma
Q_s | Q_s
Q_t | Q_t
Q_layers | Q_l
Q_tt | Q_{tt}
Q_st | Q_{st}
delta | \delta
thermal | \Theta
quenched | \Omega
""",
    "phases": r"""
X | x
y | y
n_classes | K
spectrum | \lambda_i
w0 | w(0)
W0 | W(0)
readout | v
teacher | b_m
teacher_readout | a_m
hidden_cov | Q
teaching_cov | R
weight_decay | \kappa
depth | L
layer | \ell
batch_size | b
init_scale | \sigma_0
times | t
step_size | \eta
fuv | \mathrm{FUV}
relative_noise_var | \delta
relative_ridge | \lambda_r
signal | a
class_noise | s
shared_noise | r
norm | \lVert w\rVert
""",
}

#: The symbol in formulas, as LaTeX, of every word of a system that has one.
SYMBOLS: dict[str, dict[str, str]] = {
    system: {
        name.strip(): symbol.strip()
        for name, _, symbol in (line.partition("|") for line in text.strip().splitlines())
    }
    for system, text in _SYMBOLS.items()
}


def find_symbol(name: str, system: str | None) -> str | None:
    """The symbol of a public name in the formulas of a system.

    Parameters
    ----------
    name : str
        Parameter, field or attribute.
    system : str or None
        The system; None for none.

    Returns
    -------
    str or None
        LaTeX without dollars; None if there is none.
    """
    return SYMBOLS.get(system or "", {}).get(name.removesuffix("_"))


_PREFIXES = ("group_", "scratch_", "source_", "target_", "predicted_", "held_out_", "rescaled_")

#: Every word by its name.
WORDS: dict[str, Word] = {word.name: word for words in SECTIONS.values() for word in words}

_SUFFIXES = (
    "_eval", "_stderr", "_low", "_high", "_interval", "_ci", "_path", "_curve", "_folds", "_source",
    "_target", "_simulated", "_ratio",
)  # fmt: skip


def find_word(name: str) -> Word | None:
    """The word behind a public name, read by the grammar of this module.

    Parameters
    ----------
    name : str
        Parameter, field or attribute.

    Returns
    -------
    Word or None
        The word; None if the table has none.
    """
    name = name.removesuffix("_")
    if name in WORDS:
        return WORDS[name]
    if name.startswith("n_"):
        return Word(name, f"number of {name[2:].replace('_', ' ')}", "count", COUNT)
    stems = [name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)]
    stems += [name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)]
    for stem in stems:
        word = find_word(stem)
        if word is not None:
            return word
    for plural, single in (("ies", "y"), ("s", "")):
        if name.endswith(plural) and name.removesuffix(plural) + single in WORDS:
            return WORDS[name.removesuffix(plural) + single]
    return None


def check_parameter(value: Any, name: str, *, label: str | None = None) -> Any:
    """A parameter inside the domain of the table.

    Parameters
    ----------
    value : object
        The argument.
    name : str
        Its word.
    label : str or None, default=None
        What the message calls it; the word if None.

    Returns
    -------
    object
        The value, converted.

    Raises
    ------
    ValueError
        If it lies outside the domain.
    TypeError
        If it is of another kind.
    """
    word = find_word(name)
    assert word is not None, name
    assert word.domain is not None, name
    return word.domain.check(value, label or name)
