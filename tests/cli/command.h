/* SPDX-License-Identifier: MIT */
/* command.h — runs shell lines as an ordinary user and keeps what they print.
 * In a line, $vidmm is the command under test, $probe the probe, $static its static twin. */
#ifndef VIDMM_TESTS_CLI_COMMAND_H
#define VIDMM_TESTS_CLI_COMMAND_H

#include <stdbool.h>

struct outcome {
    int status;              /* as the shell sees it */
    char out[16384];
    char err[16384];
};

/* Runs one shell line with VIDMM_LIBDIR set to the stub's directory; ends the test on trouble of its own. */
struct outcome *command_run(const char *line);

/* The same without VIDMM_LIBDIR: the command finds the libraries of its own build. */
struct outcome *command_run_plain(const char *line);

/* Whether an ordinary user may make a namespace here; tests skip with that reason where not. */
bool command_can_namespace(void);

/* Asserts that text contains part and says both when not. */
void command_has(const char *text, const char *part);
void command_has_not(const char *text, const char *part);

#endif
