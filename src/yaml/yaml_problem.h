/* What libyaml's errors mean for people: one sentence that says what was expected, and the place to
 * look at. Owns nothing. */
#ifndef BK_YAML_PROBLEM_H
#define BK_YAML_PROBLEM_H

#include <yaml.h>

struct bk_yaml_problem {
  size_t line, col; /* from 1 */
  char message[300];
};

/* `text` is what the parser was given, with a byte order mark in front of it or not. */
void bk_yaml_explain(const yaml_parser_t *parser, const char *text, size_t len,
                     struct bk_yaml_problem *out);

#endif
