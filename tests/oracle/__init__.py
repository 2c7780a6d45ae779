"""A second implementation of the receivables metrics, from their definitions alone.

Plain Python of the standard library: no SQL, no import of o2c. What the warehouse shows is compared with it.
Amounts are exact fractions inside; nothing is rounded before it is shown. Dates are local to the legal entity,
times are UTC. Where the definitions leave a choice, the comment at the place says what was taken and why.
"""
