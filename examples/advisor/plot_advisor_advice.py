"""
Advice on five sources
======================

Even or odd digits, 60 labels, and five models that were trained elsewhere: on the same task, on the
same task with other scale or sign, on a part of the digits, and on another question. `advise`
judges them by nested cross-validation and asks every system for its opinion.

Shaded in the first panel: what is advised. The second panel shows how many labels training from
scratch would need. The last figure holds the theories themselves against their matched simulations.
"""

from retemper.gallery import digits_advice

advice = digits_advice()
print(advice)

# %%
# The picture of the advice.
figure = advice.plot().figure_

# %%
# Theory against simulation, for all systems. Shaded: one, two and three standard errors.
import retemper

agreement = retemper.compare()
figure = agreement.plot().figure_
