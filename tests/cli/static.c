/* SPDX-License-Identifier: MIT */
/* static.c — a program without a dynamic linker: "exit N". */
#include <stdlib.h>

int main(int argc, char **argv)
{
    return argc > 2 ? atoi(argv[2]) : 98;
}
