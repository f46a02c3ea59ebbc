/* Writing values: block text whose strings are quoted when a YAML 1.1 or 1.2 reader could take them
 * for something else. */
#include <string.h>

#include "yaml/yaml.h"

enum { LONG_KEY = 1000 }; /* a key on one line may have 1024 characters (YAML 1.2.2, 7.4) */

static void spaces(struct bk_buf *out, int n) {
  while (n-- > 0) bk_buf_addc(out, ' ');
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* --- which style can say a text --------------------------------------------------------------- */

/* Bytes of the character at s when it may stand as it is (YAML 1.2.2, 5.1 c-printable, without line
 * separators and the byte order mark), else 0. The text is UTF-8. */
static size_t printable(const char *s, size_t left) {
  const unsigned char *p = (const unsigned char *)s;
  if (*p < 0x80) return *p >= 0x20 && *p != 0x7f;
  size_t n = *p < 0xe0 ? 2 : *p < 0xf0 ? 3 : 4;
  if (n > left) return 0;
  if (p[0] == 0xc2 && p[1] < 0xa0) return 0;                      /* C1 controls, NEL */
  if (p[0] == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9)) return 0;
  if (p[0] == 0xef && (p[1] == 0xbb ? p[2] == 0xbf : p[1] == 0xbf && p[2] >= 0xbe)) return 0;
  return n;
}

static bool all_printable(const char *s, size_t n) {
  for (size_t i = 0, k; i < n; i += k)
    if ((k = printable(s + i, n - i)) == 0) return false;
  return true;
}

static bool one_of(const char *s, size_t n, const char *const words[]) {
  for (; *words; words++)
    if (strlen(*words) == n && strncasecmp(*words, s, n) == 0) return true;
  return false;
}

/* What YAML 1.1 readers take for a boolean, a number or a merge key. */
static bool is_special(const char *s, size_t n) {
  static const char *const words[] = {"y", "n", "yes", "no", "on", "off", "=", "<<", NULL};
  if (one_of(s, n, words)) return true;
  size_t i = n > 0 && (s[0] == '-' || s[0] == '+');
  if (i == n || (!is_digit(s[i]) && s[i] != '.')) return false;
  for (size_t k = i; k < n; k++)
    if (!is_digit(s[k]) && !strchr("_:.eE+-xXabcdefABCDEFoO", s[k])) return false;
  /* Octal, 1_000, 12:30:45 and the like; versions such as 1.2.3 stay plain. */
  bool dots = false;
  for (size_t k = i; k < n; k++) {
    if (s[k] == '_' || s[k] == ':') return true;
    if (s[k] == '.' && dots) return false;
    dots = dots || s[k] == '.';
  }
  return s[i] == '0' && !dots;
}

static bool is_plain(const char *s, size_t n, bool in_flow) {
  if (n == 0 || s[0] == ' ' || s[n - 1] == ' ' || s[n - 1] == ':') return false;
  if (memchr("?:,[]{}#&*!|>'\"%@`", s[0], 18)) return false;
  if (s[0] == '-' && (n == 1 || s[1] == '-' || s[1] == ' ')) return false;
  if (n >= 3 && memcmp(s, "...", 3) == 0) return false;
  for (size_t i = 0; i < n; i++) {
    if (s[i] == ':' && (i + 1 == n || s[i + 1] == ' ')) return false;
    if (s[i] == '#' && s[i - 1] == ' ') return false;
    if (in_flow && strchr(",[]{}:", s[i])) return false;
  }
  struct bk_yaml_node unused;
  return all_printable(s, n) && bk_yaml_resolve(s, n, &unused) == BK_YAML_STR && !is_special(s, n);
}

/* A literal block can say it without tricks: several lines, none beginning or ending the whole with
 * a blank, none with blanks at its end. */
static bool is_literal(const char *s, size_t n) {
  if (n < 2 || !memchr(s, '\n', n) || s[0] == ' ' || s[0] == '\n' || s[0] == '\t') return false;
  for (size_t i = 0; i < n;) {
    const char *nl = memchr(s + i, '\n', n - i);
    size_t len = nl ? (size_t)(nl - s) - i : n - i;
    for (size_t k = 0, w; k < len; k += w) {
      w = s[i + k] == '\t' ? 1 : printable(s + i + k, len - k);
      if (w == 0) return false;
    }
    if (len && (s[i + len - 1] == ' ' || s[i + len - 1] == '\t')) return false;
    i += len + 1;
  }
  return true;
}

/* --- texts ----------------------------------------------------------------------------------- */

static void single_quoted(struct bk_buf *out, const char *s, size_t n) {
  bk_buf_addc(out, '\'');
  for (size_t i = 0; i < n; i++) {
    if (s[i] == '\'') bk_buf_addc(out, '\'');
    bk_buf_addc(out, s[i]);
  }
  bk_buf_addc(out, '\'');
}

static unsigned code_point(const char *s, size_t n) {
  static const unsigned char mask[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
  unsigned c = (unsigned char)s[0] & mask[n];
  for (size_t i = 1; i < n; i++) c = c << 6 | ((unsigned char)s[i] & 0x3f);
  return c;
}

static void double_quoted(struct bk_buf *out, const char *s, size_t n) {
  static const char from[] = "\"\\\n\r\t\0", to[] = "\"\\nrt0";
  bk_buf_addc(out, '"');
  for (size_t i = 0, k; i < n; i += k) {
    const char *esc = memchr(from, s[i], sizeof from - 1);
    k = esc ? 0 : printable(s + i, n - i);
    if (k) {
      bk_buf_add(out, s + i, k);
      continue;
    }
    unsigned char c = (unsigned char)s[i];
    k = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (k > n - i) k = 1;
    if (esc) bk_buf_addf(out, "\\%c", to[esc - from]);
    else if (c < 0x80) bk_buf_addf(out, "\\x%02x", c);
    else bk_buf_addf(out, "\\u%04x", code_point(s + i, k));
  }
  bk_buf_addc(out, '"');
}

void bk_yaml_emit_text(struct bk_buf *out, const struct bk_yaml_node *v, enum bk_yaml_style wish,
                       bool in_flow) {
  const char *s = v->text;
  size_t n = v->len;
  if (v->type == BK_YAML_NULL) return bk_buf_adds(out, "null");
  if (v->type != BK_YAML_STR) return bk_buf_add(out, s, n);
  bool quotes = memchr(s, '"', n) || memchr(s, '\\', n), clean = all_printable(s, n);
  bool any = wish != BK_YAML_SINGLE && wish != BK_YAML_DOUBLE;
  bool single = any && (quotes || !memchr(s, '\'', n));
  if (any && is_plain(s, n, in_flow)) bk_buf_add(out, s, n);
  else if (clean && (wish == BK_YAML_SINGLE || single)) single_quoted(out, s, n);
  else double_quoted(out, s, n);
}

static void literal(struct bk_buf *out, const char *s, size_t n, int indent) {
  size_t breaks = 0;
  while (breaks < n && s[n - 1 - breaks] == '\n') breaks++;
  bk_buf_adds(out, breaks == 0 ? "|-" : breaks == 1 ? "|" : "|+");
  size_t end = breaks ? n - 1 : n; /* the last line break is that of the line itself */
  for (size_t i = 0; i <= end;) {
    const char *nl = i < end ? memchr(s + i, '\n', end - i) : NULL;
    size_t len = nl ? (size_t)(nl - s) - i : end - i;
    bk_buf_addc(out, '\n');
    if (len) spaces(out, indent);
    bk_buf_add(out, s + i, len);
    i += len + 1;
  }
}

/* --- values ---------------------------------------------------------------------------------- */

void bk_yaml_emit_flow(struct bk_buf *out, const struct bk_yaml_node *v) {
  if (v->kind == BK_YAML_SCALAR) return bk_yaml_emit_text(out, v, BK_YAML_PLAIN, true);
  bool map = v->kind == BK_YAML_MAP;
  bk_buf_addc(out, map ? '{' : '[');
  for (size_t i = 0; i < v->count; i++) {
    if (i) bk_buf_adds(out, ", ");
    if (map) {
      bk_yaml_emit_text(out, v->pairs[i].key, BK_YAML_PLAIN, true);
      bk_buf_adds(out, ": ");
    }
    bk_yaml_emit_flow(out, map ? v->pairs[i].value : v->items[i]);
  }
  bk_buf_addc(out, map ? '}' : ']');
}

static void emit_scalar(struct bk_buf *out, const struct bk_yaml_node *v, int indent) {
  if (v->type == BK_YAML_STR && is_literal(v->text, v->len)) literal(out, v->text, v->len, indent);
  else bk_yaml_emit_text(out, v, BK_YAML_PLAIN, false);
}

void bk_yaml_emit_after_key(struct bk_buf *out, const struct bk_yaml_node *v, int indent,
                            const struct bk_yaml_layout *layout) {
  int inner = indent + (v->kind == BK_YAML_SEQ ? layout->seq_offset : layout->indent);
  if (v->kind == BK_YAML_SCALAR || v->count == 0) {
    bk_buf_addc(out, ' ');
    if (v->kind == BK_YAML_SCALAR) emit_scalar(out, v, inner);
    else bk_yaml_emit_flow(out, v);
    return;
  }
  bk_buf_addc(out, '\n');
  spaces(out, inner);
  bk_yaml_emit(out, v, inner, layout);
}

void bk_yaml_emit_after_dash(struct bk_buf *out, const struct bk_yaml_node *v, int indent,
                             const struct bk_yaml_layout *layout) {
  bk_buf_addc(out, ' ');
  if (v->kind == BK_YAML_SCALAR) emit_scalar(out, v, indent + 2);
  else bk_yaml_emit(out, v, indent + 2, layout);
}

void bk_yaml_emit_pair(struct bk_buf *out, const struct bk_yaml_node *key,
                       const struct bk_yaml_node *value, int indent,
                       const struct bk_yaml_layout *layout) {
  size_t before = out->len;
  bk_yaml_emit_text(out, key, BK_YAML_PLAIN, false);
  if (out->len - before <= LONG_KEY || out->overflow) {
    bk_buf_addc(out, ':');
    return bk_yaml_emit_after_key(out, value, indent, layout);
  }
  out->len = before;
  bk_buf_adds(out, "? ");
  bk_yaml_emit_text(out, key, BK_YAML_PLAIN, false);
  bk_buf_addc(out, '\n');
  spaces(out, indent);
  bk_buf_addc(out, ':');
  bk_yaml_emit_after_key(out, value, indent, layout);
}

void bk_yaml_emit(struct bk_buf *out, const struct bk_yaml_node *v, int indent,
                  const struct bk_yaml_layout *layout) {
  if (v->kind == BK_YAML_SCALAR) return emit_scalar(out, v, indent + layout->indent);
  if (v->count == 0) return bk_yaml_emit_flow(out, v);
  for (size_t i = 0; i < v->count; i++) {
    if (i) {
      bk_buf_addc(out, '\n');
      spaces(out, indent);
    }
    if (v->kind == BK_YAML_MAP) {
      bk_yaml_emit_pair(out, v->pairs[i].key, v->pairs[i].value, indent, layout);
    } else {
      bk_buf_addc(out, '-');
      bk_yaml_emit_after_dash(out, v->items[i], indent, layout);
    }
  }
}
