/* SPDX-License-Identifier: MIT */
/* neighbour.c — a library that only its user's $ORIGIN search path finds. */
int neighbour(void);

int neighbour(void)
{
    return 11;
}
