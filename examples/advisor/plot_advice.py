"""
Advice on five sources
======================

Even or odd digits, 60 labels, and five models that were trained elsewhere: on the same task, on the
same task with other scale or sign, on a part of the digits, and on another question.
"""

from retemper.gallery import digits_advice

advice = digits_advice()
print(advice)

# %%
# The picture
# -----------
# Shaded: what is advised. The second panel shows how many labels training from scratch would need.
figure = advice.plot().figure_

# %%
# Theory against simulation
# -------------------------
# The same for the theories themselves: every prediction against its matched simulation.
import retemper

agreement = retemper.compare()
figure = agreement.plot().figure_
