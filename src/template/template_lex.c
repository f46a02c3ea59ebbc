/* Jinja's lexical rules: text with {{ }}, {% %}, {# #}, raw blocks, optional line statements and
 * comments, white space control. Tokens are made on demand, so that errors come in source order. */
#include <stdio.h>
#include <stdlib.h>

#include "template/template_run.h"

static const char *at(const struct lexer *lx, uint32_t i) { return lx->src + i; }
static bool starts(const struct lexer *lx, uint32_t i, const char *s) {
  size_t n = strlen(s);
  return lx->len - i >= n && memcmp(at(lx, i), s, n) == 0;
}

static uint32_t skip_space(const struct lexer *lx, uint32_t i) {
  size_t n;
  while (i < lx->len && (n = bk_tpl_space(at(lx, i), at(lx, lx->len)))) i += (uint32_t)n;
  return i;
}

static uint32_t trim_end(const struct lexer *lx, uint32_t from, uint32_t to) {
  bk_tv s = bk_tv_text(at(lx, from), to - from);
  return from + bk_tpl_strip(s, tv_kind(TV_MISSING), 2).len;
}

/* The text from..to stands before a tag with this sign: what of it remains. */
static uint32_t strip_before(struct parser *p, uint32_t from, uint32_t to, char sign, bool var) {
  const struct lexer *lx = &p->lx;
  if (sign == '-') return trim_end(lx, from, to);
  if (sign == '+' || var || !p->env->opt.lstrip_blocks) return to;
  uint32_t line = to;
  while (line > from && lx->src[line - 1] != '\n') line--;
  if (line == from && from > 0 && lx->src[from - 1] != '\n') return to;
  return trim_end(lx, line, to) == line ? line : to;
}

/* After the closing delimiter at i: what a block or comment swallows. */
static uint32_t after_block(struct parser *p, uint32_t i, char sign) {
  if (sign == '-') return skip_space(&p->lx, i);
  if (sign != '+' && p->env->opt.trim_blocks && i < p->lx.len && p->lx.src[i] == '\n') return i + 1;
  return i;
}

static char take_sign(const struct lexer *lx, uint32_t *i) {
  if (*i < lx->len && (lx->src[*i] == '-' || lx->src[*i] == '+')) return lx->src[(*i)++];
  return 0;
}

/* {% raw %} or {% endraw %} at i: position after it, or 0. */
static uint32_t raw_tag(struct parser *p, uint32_t i, const char *word, char *sign) {
  struct lexer *lx = &p->lx;
  if (!starts(lx, i, "{%")) return 0;
  i += 2;
  *sign = take_sign(lx, &i);
  i = skip_space(lx, i);
  if (!starts(lx, i, word)) return 0;
  i = skip_space(lx, i + (uint32_t)strlen(word));
  bool end = word[0] == 'e';
  char close = 0;
  if (i < lx->len && (lx->src[i] == '-' || (end && lx->src[i] == '+'))) close = lx->src[i++];
  if (!starts(lx, i, "%}")) return 0;
  i += 2;
  if (end) return after_block(p, i, close);
  return close == '-' ? skip_space(lx, i) : i;
}

enum found { F_END, F_VAR, F_BLOCK, F_COMMENT, F_RAW, F_LINE, F_LINECOMMENT };

static uint32_t blanks(const struct lexer *lx, uint32_t i) {
  while (i < lx->len && (lx->src[i] == ' ' || lx->src[i] == '\t' || lx->src[i] == '\v')) i++;
  return i;
}

/* Line statement or line comment that begins at i (blanks included). */
static enum found line_tag(struct parser *p, uint32_t i, uint32_t *after) {
  const struct lexer *lx = &p->lx;
  const char *st = p->env->opt.line_statement, *co = p->env->opt.line_comment;
  bool first = i == 0 || lx->src[i - 1] == '\n';
  bool mid = !first && i > 0 && !memchr(" \t\v\f\r\n", lx->src[i - 1], 6);
  uint32_t j = blanks(lx, i);
  bool is_st = st && first && starts(lx, j, st), is_co = co && (first || mid) && starts(lx, j, co);
  if (is_st && is_co) {
    if (strlen(st) >= strlen(co)) is_co = false;
    else is_st = false;
  }
  if (is_st) *after = j + (uint32_t)strlen(st);
  else if (is_co) *after = j + (uint32_t)strlen(co);
  return is_st ? F_LINE : is_co ? F_LINECOMMENT : F_END;
}

/* The next tag at or after lx->pos: its start, and in *after the position after its opening. */
static enum found find_tag(struct parser *p, uint32_t *start, uint32_t *after, char *sign) {
  struct lexer *lx = &p->lx;
  bool lines = p->env->opt.line_statement || p->env->opt.line_comment;
  for (uint32_t i = lx->pos; i < lx->len; i++) {
    if (lines) {
      enum found f = line_tag(p, i, after);
      if (f != F_END) {
        *start = i;
        *sign = take_sign(lx, after);
        return f;
      }
    } else {
      const char *brace = memchr(at(lx, i), '{', lx->len - i);
      if (!brace) break;
      i = (uint32_t)(brace - lx->src);
    }
    if (lx->src[i] != '{' || i + 1 >= lx->len) continue;
    char c = lx->src[i + 1];
    if (c != '{' && c != '%' && c != '#') continue;
    *start = i;
    if (c == '%' && (*after = raw_tag(p, i, "raw", sign))) return F_RAW;
    *after = i + 2;
    *sign = take_sign(lx, after);
    return c == '{' ? F_VAR : c == '%' ? F_BLOCK : F_COMMENT;
  }
  *start = *after = lx->len;
  *sign = 0;
  return F_END;
}

static void set_token(struct token *t, enum tok type, uint32_t pos, const char *s, uint32_t len) {
  *t = (struct token){.type = type, .pos = pos, .s = s, .len = len};
}

static void skip_comment(struct parser *p, uint32_t open, uint32_t i) {
  struct lexer *lx = &p->lx;
  const char *end = memmem(at(lx, i), lx->len - i, "#}", 2);
  if (!end) bk_tpl_syntax(p, open, "comment is not closed: expected '#}'");
  uint32_t e = (uint32_t)(end - lx->src);
  char sign = e > i && (lx->src[e - 1] == '-' || lx->src[e - 1] == '+') ? lx->src[e - 1] : 0;
  lx->pos = after_block(p, e + 2, sign);
}

/* In text: either the text up to the next tag or the tag's own token. False: nothing came of it. */
static bool lex_data(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  uint32_t from = lx->pos, start, after;
  char sign;
  enum found f = find_tag(p, &start, &after, &sign);
  if (start > from) {
    uint32_t end = f == F_END ? start : strip_before(p, from, start, sign, f == F_VAR);
    lx->pos = start;
    set_token(t, T_DATA, from, at(lx, from), end - from);
    if (end > from) return true;
  }
  lx->pos = after;
  lx->tag_pos = start;
  switch (f) {
    case F_END:
      set_token(t, T_EOF, lx->len, "", 0);
      return true;
    case F_VAR:
      lx->state = LEX_VAR;
      set_token(t, T_VAR_BEGIN, start, at(lx, start), 2);
      return true;
    case F_BLOCK:
    case F_LINE:
      lx->state = f == F_LINE ? LEX_LINE : LEX_BLOCK;
      set_token(t, T_BLOCK_BEGIN, start, at(lx, start), 2);
      return true;
    case F_RAW:
      lx->state = LEX_RAW;
      return false;
    case F_COMMENT:
      skip_comment(p, start, after);
      return false;
    case F_LINECOMMENT:
      while (lx->pos < lx->len && lx->src[lx->pos] != '\n') lx->pos++;
      return false;
  }
  return false;
}

static bool lex_raw(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  uint32_t from = lx->pos, after = 0;
  char sign = 0;
  for (uint32_t i = from; i < lx->len; i++) {
    const char *brace = memchr(at(lx, i), '{', lx->len - i);
    if (!brace) break;
    i = (uint32_t)(brace - lx->src);
    if ((after = raw_tag(p, i, "endraw", &sign))) {
      uint32_t end = strip_before(p, from, i, sign, false);
      lx->pos = after;
      lx->state = LEX_DATA;
      set_token(t, T_DATA, from, at(lx, from), end - from);
      return end > from;
    }
  }
  bk_tpl_syntax(p, lx->tag_pos, "raw block is not closed: expected {%% endraw %%}");
}

/* --- inside tags ----------------------------------------------------------------------------- */

static const struct { char s[3]; uint8_t type; } operators[] = {
    {"**", T_POW}, {"//", T_FLOORDIV}, {"==", T_EQ}, {"!=", T_NE}, {"<=", T_LE}, {">=", T_GE},
    {"+", T_ADD}, {"-", T_SUB}, {"*", T_MUL}, {"/", T_DIV}, {"%", T_MOD}, {"~", T_TILDE},
    {"<", T_LT}, {">", T_GT}, {"=", T_ASSIGN}, {".", T_DOT}, {":", T_COLON}, {",", T_COMMA},
    {";", T_SEMI}, {"|", T_PIPE}, {"(", T_LPAREN}, {")", T_RPAREN}, {"[", T_LBRACKET},
    {"]", T_RBRACKET}, {"{", T_LBRACE}, {"}", T_RBRACE},
};

const char *bk_tpl_tok_name(enum tok type) {
  switch (type) {
    case T_EOF: return "end of template";
    case T_DATA: return "template text";
    case T_VAR_BEGIN: return "'{{'";
    case T_VAR_END: return "'}}'";
    case T_BLOCK_BEGIN: return "'{%'";
    case T_BLOCK_END: return "'%}'";
    case T_NAME: return "a name";
    case T_STR: return "a string";
    case T_INT: return "an integer";
    case T_FLOAT: return "a float";
    case T_ASSIGN: return "'='";
    case T_DOT: return "'.'";
    case T_COLON: return "':'";
    case T_COMMA: return "','";
    case T_LPAREN: return "'('";
    case T_RPAREN: return "')'";
    case T_RBRACKET: return "']'";
    case T_RBRACE: return "'}'";
    default: return "an operator";
  }
}

const char *bk_tpl_tok_text(const struct token *t, char *buf, size_t n) {
  if (t->type <= T_BLOCK_END && t->type != T_DATA) return bk_tpl_tok_name(t->type);
  int len = t->len > 40 ? 40 : (int)t->len;
  const char *q = t->type == T_STR ? "string " : "";
  snprintf(buf, n, "%s'%.*s%s'", q, len, t->s, t->len > 40 ? "…" : "");
  return buf;
}

static bool digit_run(const struct lexer *lx, uint32_t *i, const char *digits) {
  uint32_t j = *i;
  bool any = false;
  for (; j < lx->len; j++) {
    if (memchr(digits, lx->src[j], strlen(digits))) any = true;
    else if (lx->src[j] != '_' || !any || j + 1 >= lx->len ||
             !memchr(digits, lx->src[j + 1], strlen(digits)))
      break;
  }
  *i = j;
  return any;
}

static uint32_t plain_digits(const struct lexer *lx, uint32_t i, char *out, uint32_t cap) {
  uint32_t n = 0;
  for (uint32_t j = lx->pos; j < i && n + 1 < cap; j++)
    if (lx->src[j] != '_') out[n++] = lx->src[j];
  out[n] = '\0';
  return n;
}

static const char decimal[] = "0123456789";

static bool lex_float(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  uint32_t i = lx->pos, j;
  if (i > 0 && lx->src[i - 1] == '.') return false;
  if (!digit_run(lx, &i, decimal)) return false;
  bool ok = false;
  j = i + 1;
  if (i < lx->len && lx->src[i] == '.' && digit_run(lx, &j, decimal)) i = j, ok = true;
  if (i < lx->len && (lx->src[i] | 32) == 'e') {
    j = i + 1;
    if (j < lx->len && (lx->src[j] == '+' || lx->src[j] == '-')) j++;
    if (digit_run(lx, &j, decimal)) i = j, ok = true;
  }
  if (!ok) return false;
  char buf[512];
  if (i - lx->pos >= sizeof buf) bk_tpl_syntax(p, lx->pos, "number is too long");
  plain_digits(lx, i, buf, sizeof buf);
  set_token(t, T_FLOAT, lx->pos, at(lx, lx->pos), i - lx->pos);
  t->f = strtod(buf, NULL);
  lx->pos = i;
  return true;
}

static bool lex_int(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  uint32_t i = lx->pos, j;
  if (lx->src[i] < '0' || lx->src[i] > '9') return false;
  int base = 10;
  char kind = i + 2 < lx->len && lx->src[i] == '0' ? (char)(lx->src[i + 1] | 32) : 0;
  static const struct { char c; int base; const char *digits; } kinds[] = {
      {'x', 16, "0123456789abcdefABCDEF"}, {'b', 2, "01"}, {'o', 8, "01234567"}};
  for (size_t k = 0; k < BK_ARRAY_LEN(kinds); k++) {
    j = i + 2;
    if (j < lx->len && lx->src[j] == '_') j++;
    if (kind == kinds[k].c && digit_run(lx, &j, kinds[k].digits)) base = kinds[k].base;
    if (base != 10) break;
  }
  if (base == 10) {
    j = i;
    digit_run(lx, &j, lx->src[i] == '0' ? "0" : decimal);
  }
  char buf[80];
  if (j - i >= sizeof buf) bk_tpl_syntax(p, i, "integer does not fit in 64 bits");
  plain_digits(lx, j, buf, sizeof buf);
  uint64_t v = 0;
  for (const char *s = base == 10 ? buf : buf + 2; *s; s++) {
    uint64_t d = (uint64_t)(*s <= '9' ? *s - '0' : (*s | 32) - 'a' + 10);
    if (__builtin_mul_overflow(v, (uint64_t)base, &v) || __builtin_add_overflow(v, d, &v) ||
        v > INT64_MAX)
      bk_tpl_syntax(p, i, "integer does not fit in 64 bits");
  }
  set_token(t, T_INT, i, at(lx, i), j - i);
  t->i = (int64_t)v;
  lx->pos = j;
  return true;
}

static bool lex_name(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  uint32_t i = lx->pos;
  const char *end = at(lx, lx->len);
  while (i < lx->len) {
    char c = lx->src[i];
    size_t n = 1;
    if (!(c & 0x80)) {
      if (c != '_' && !(c >= '0' && c <= '9') && !((c | 32) >= 'a' && (c | 32) <= 'z')) break;
    } else if (!bk_tpl_cp_is(bk_tpl_u8get(at(lx, i), end, &n), "alnum")) {
      break;
    }
    i += (uint32_t)n;
  }
  if (i == lx->pos) return false;
  set_token(t, T_NAME, lx->pos, at(lx, lx->pos), i - lx->pos);
  lx->pos = i;
  return true;
}

static uint32_t u8_write(char *out, uint32_t c) {
  if (c < 0x80) return out[0] = (char)c, 1;
  if (c < 0x800) return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
  if (c < 0x10000) {
    out[0] = (char)(0xe0 | c >> 12);
    out[1] = (char)(0x80 | (c >> 6 & 63));
    out[2] = (char)(0x80 | (c & 63));
    return 3;
  }
  out[0] = (char)(0xf0 | c >> 18);
  out[1] = (char)(0x80 | (c >> 12 & 63));
  out[2] = (char)(0x80 | (c >> 6 & 63));
  out[3] = (char)(0x80 | (c & 63));
  return 4;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One escape sequence at s[i] == '\\'; appends to out and returns the position after it. */
static uint32_t unescape(struct parser *p, uint32_t i, uint32_t end, char *out, uint32_t *n) {
  const char *src = p->lx.src;
  char c = src[i + 1];
  static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
  const char *simple = memchr(from, c, sizeof from - 1);
  if (simple) return out[(*n)++] = to[simple - from], i + 2;
  if (c == '\n') return i + 2;
  if (c >= '0' && c <= '7') {
    uint32_t v = 0, j = i + 1;
    while (j < end && j < i + 4 && src[j] >= '0' && src[j] <= '7')
      v = v * 8 + (uint32_t)(src[j++] - '0');
    *n += u8_write(out + *n, v);
    return j;
  }
  uint32_t want = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0, v = 0;
  if (c == 'N') bk_tpl_syntax(p, i, "character names (\\N{…}) are not supported");
  if (!want) return out[(*n)++] = '\\', i + 1;
  for (uint32_t k = 0; k < want; k++) {
    int d = i + 2 + k < end ? hex_digit(src[i + 2 + k]) : -1;
    if (d < 0) bk_tpl_syntax(p, i, "escape \\%c needs %u hexadecimal digits", c, want);
    v = v << 4 | (uint32_t)d;
  }
  if (v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
    bk_tpl_syntax(p, i, "escape \\%c: not a Unicode character", c);
  *n += u8_write(out + *n, v);
  return i + 2 + want;
}

static bool lex_string(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  uint32_t start = lx->pos, i = start + 1;
  char q = lx->src[start];
  if (q != '"' && q != '\'') return false;
  bool escapes = false;
  while (i < lx->len && lx->src[i] != q) {
    if (lx->src[i] == '\\') escapes = true, i++;
    i++;
  }
  if (i >= lx->len) bk_tpl_syntax(p, start, "string is not closed: expected %c", q);
  set_token(t, T_STR, start, at(lx, start + 1), i - start - 1);
  lx->pos = i + 1;
  if (!escapes) return true;
  char *out = bk_arena_alloc(&p->tpl->mem, i - start);
  uint32_t n = 0, j = start + 1;
  while (j < i) {
    if (lx->src[j] == '\\') j = unescape(p, j, i, out, &n);
    else out[n++] = lx->src[j++];
  }
  t->s = out;
  t->len = n;
  return true;
}

static void lex_operator(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  uint32_t pos = lx->pos;
  for (size_t k = 0; k < BK_ARRAY_LEN(operators); k++) {
    if (!starts(lx, pos, operators[k].s)) continue;
    enum tok type = operators[k].type;
    set_token(t, type, pos, at(lx, pos), (uint32_t)strlen(operators[k].s));
    lx->pos += t->len;
    if (type == T_LPAREN || type == T_LBRACKET || type == T_LBRACE) {
      if (lx->depth == sizeof lx->balance) bk_tpl_syntax(p, pos, "brackets nested too deeply");
      lx->open[lx->depth] = pos;
      lx->balance[lx->depth++] = type == T_LPAREN ? ')' : type == T_LBRACKET ? ']' : '}';
    } else if (type == T_RPAREN || type == T_RBRACKET || type == T_RBRACE) {
      char want = lx->depth ? lx->balance[--lx->depth] : 0;
      if (!want) bk_tpl_syntax(p, pos, "unexpected '%s': no bracket is open", operators[k].s);
      if (want != operators[k].s[0])
        bk_tpl_syntax(p, pos, "unexpected '%s', expected '%c'", operators[k].s, want);
    }
    return;
  }
  size_t n = bk_tpl_u8len(at(lx, pos), at(lx, lx->len));
  bk_tpl_syntax(p, pos, "unexpected character '%.*s'", (int)n, at(lx, pos));
}

/* The end of the current tag at lx->pos, if it is there. */
static bool lex_tag_end(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  uint32_t i = lx->pos;
  if (lx->state == LEX_LINE) {
    uint32_t end = skip_space(lx, i), nl = end;
    while (nl > i && lx->src[nl - 1] != '\n') nl--;
    if (end < lx->len && nl == i) return false;
    set_token(t, T_BLOCK_END, i, "", 0);
    lx->pos = end == lx->len ? end : nl;
    lx->state = LEX_DATA;
    return true;
  }
  bool var = lx->state == LEX_VAR;
  char sign = 0;
  if (i < lx->len && (lx->src[i] == '-' || (lx->src[i] == '+' && !var))) sign = lx->src[i++];
  if (!starts(lx, i, var ? "}}" : "%}")) return false;
  set_token(t, var ? T_VAR_END : T_BLOCK_END, lx->pos, at(lx, i), 2);
  i += 2;
  lx->pos = !var ? after_block(p, i, sign) : sign == '-' ? skip_space(lx, i) : i;
  lx->state = LEX_DATA;
  return true;
}

static void lex_tag(struct parser *p, struct token *t) {
  struct lexer *lx = &p->lx;
  if (lx->depth == 0 && lex_tag_end(p, t)) return;
  uint32_t i = skip_space(lx, lx->pos);
  if (i > lx->pos) {
    lx->pos = i;
    if (lx->depth == 0 && lex_tag_end(p, t)) return;
  }
  if (i >= lx->len) {
    if (lx->depth)
      bk_tpl_syntax(p, lx->open[lx->depth - 1], "bracket is not closed: expected '%c'",
                    lx->balance[lx->depth - 1]);
    bk_tpl_syntax(p, lx->tag_pos, "tag is not closed: expected '%s'",
                  lx->state == LEX_VAR ? "}}" : "%}");
  }
  if (lex_float(p, t) || lex_int(p, t) || lex_name(p, t) || lex_string(p, t)) return;
  lex_operator(p, t);
}

void bk_tpl_lex(struct parser *p, struct token *t) {
  for (;;) {
    if (p->lx.state == LEX_DATA) {
      if (lex_data(p, t)) return;
    } else if (p->lx.state == LEX_RAW) {
      if (lex_raw(p, t)) return;
    } else {
      lex_tag(p, t);
      return;
    }
  }
}
