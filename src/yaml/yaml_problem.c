#include "yaml/yaml_problem.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static bool is(const char *a, const char *b) { return a && strcmp(a, b) == 0; }
static bool begins(const char *a, const char *b) { return a && strncmp(a, b, strlen(b)) == 0; }

/* Line and column (characters, from 1) of a byte. */
static void place(const char *text, size_t len, size_t offset, struct bk_yaml_problem *out) {
  out->line = out->col = 1;
  for (size_t i = 0; i < offset && i < len; i++) {
    if (text[i] == '\n') out->line++, out->col = 1;
    else if (((unsigned char)text[i] & 0xc0) != 0x80) out->col++;
  }
}

/* The character of the text at a line and column from 0, or 0. */
static char char_at(const char *text, size_t len, const yaml_mark_t *m) {
  size_t i = 0;
  for (size_t line = 0; line < m->line; line++) {
    const char *nl = i < len ? memchr(text + i, '\n', len - i) : NULL;
    if (!nl) return 0;
    i = (size_t)(nl - text) + 1;
  }
  for (size_t col = 0; col < m->column && i < len; col++)
    for (i++; i < len && ((unsigned char)text[i] & 0xc0) == 0x80; i++) continue;
  return i < len ? text[i] : 0;
}

static void at(struct bk_yaml_problem *out, const yaml_mark_t *m) {
  out->line = m->line + 1;
  out->col = m->column + 1;
}

/* Problems that get a sentence of their own; `opened` ones are shown where the text began. */
static const struct {
  const char *problem, *context, *message;
  bool opened;
} sentences[] = {
    {"could not find expected ':'", NULL, "expected ':' behind this key", true},
    {"mapping values are not allowed in this context", NULL,
     "unexpected ':' (quote the text, or check the indentation)", false},
    {"block sequence entries are not allowed in this context", NULL,
     "unexpected '-' (a list begins on a line of its own)", false},
    {"mapping keys are not allowed in this context", NULL,
     "unexpected '?' (quote the text)", false},
    {"found unexpected end of stream", "while scanning a quoted scalar",
     "expected a closing quote for this text", true},
    {"did not find expected <document start>", NULL,
     "expected the end of the document, found more text", false},
    {"did not find expected node content", NULL, "expected a value", false},
    {"did not find expected comment or line break", "while scanning a block scalar",
     "expected the end of the line behind '|' or '>'", false},
    {"found unknown escape character", NULL,
     "unknown escape: write \\\\ for a backslash, or use single quotes", false},
};

static bool own_sentence(const yaml_parser_t *p, struct bk_yaml_problem *out) {
  for (size_t i = 0; i < BK_ARRAY_LEN(sentences); i++) {
    if (!is(p->problem, sentences[i].problem)) continue;
    if (sentences[i].context && !is(p->context, sentences[i].context)) continue;
    snprintf(out->message, sizeof out->message, "%s", sentences[i].message);
    at(out, sentences[i].opened ? &p->context_mark : &p->problem_mark);
    return true;
  }
  return false;
}

static void bad_start(const yaml_parser_t *p, char c, struct bk_yaml_problem *out) {
  at(out, &p->problem_mark);
  if (c == '\t')
    snprintf(out->message, sizeof out->message, "tabs do not count as indentation: use blanks");
  else snprintf(out->message, sizeof out->message, "a text must not begin with '%c': quote it", c);
}

/* "did not find expected X while parsing a Y" -> "expected X (the Y begins at line N)". */
static void general(const yaml_parser_t *p, struct bk_yaml_problem *out) {
  static const char prefix[] = "did not find expected ";
  at(out, &p->problem_mark);
  bool map = is(p->context, "while parsing a block mapping");
  if (map || is(p->context, "while parsing a block collection")) {
    snprintf(out->message, sizeof out->message,
             "expected %s of the %s that begins at line %zu (check the indentation)",
             map ? "a key" : "a '-'", map ? "map" : "list", p->context_mark.line + 1);
    return;
  }
  const char *problem = p->problem ? p->problem : "malformed YAML", *context = p->context;
  bool expected = begins(problem, prefix);
  if (expected) problem += sizeof prefix - 1;
  const char *what = begins(context, "while parsing a ") ? context + 14 : NULL;
  if (expected && what)
    snprintf(out->message, sizeof out->message, "expected %s (in the %s that begins at line %zu)",
             problem, what + 2, p->context_mark.line + 1);
  else
    snprintf(out->message, sizeof out->message, "%s%s%s%s", expected ? "expected " : "", problem,
             context ? " " : "", context ? context : "");
}

void bk_yaml_explain(const yaml_parser_t *p, const char *text, size_t len,
                     struct bk_yaml_problem *out) {
  size_t bom = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
  text += bom;
  len -= bom;
  *out = (struct bk_yaml_problem){.line = 1, .col = 1};
  if (p->error == YAML_READER_ERROR) {
    place(text, len, p->problem_offset, out);
    snprintf(out->message, sizeof out->message, "%s (byte 0x%02x)", p->problem,
             (unsigned)(p->problem_value < 0 ? 0 : p->problem_value));
    return;
  }
  if (p->error == YAML_MEMORY_ERROR) {
    snprintf(out->message, sizeof out->message, "out of memory");
    return;
  }
  char c = char_at(text, len, &p->problem_mark);
  if (is(p->problem, "found character that cannot start any token") && c) bad_start(p, c, out);
  else if (!own_sentence(p, out)) general(p, out);
}
