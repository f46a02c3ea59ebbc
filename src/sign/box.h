/* cosign's encrypted key files (github.com/secure-systems-lab/go-securesystemslib/encrypted): JSON with
 * scrypt's parameters and a secretbox. Private to this module. */
#ifndef BK_SIGN_BOX_H
#define BK_SIGN_BOX_H

#include "base/buf.h"
#include "base/err.h"

#define BOX_SALT 32
#define BOX_NONCE 24

/* Appends the JSON text around the encrypted plain text; salt and nonce must be fresh. */
int box_seal(struct bk_buf *out, const char *password, size_t password_len, const void *plain,
             size_t len, const unsigned char salt[BOX_SALT], const unsigned char nonce[BOX_NONCE],
             struct bk_err *err) BK_WARN_UNUSED;
/* The plain text of such a JSON text; out is the caller's to wipe. */
int box_open(const char *text, size_t len, const char *password, size_t password_len,
             struct bk_buf *out, struct bk_err *err) BK_WARN_UNUSED;

#endif
