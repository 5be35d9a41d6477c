/* Percent encoding, RFC 3986 section 2.1, and the query form of HTML's application/x-www-form-urlencoded. */
#ifndef MLB_URI_H
#define MLB_URI_H

#include <stdbool.h>
#include <stddef.h>

/* Decode `length` bytes of `text` into `ret_text`, which has room for as many and may be `text` itself. `%` without two hexadecimal
 * digits stays as it is. `plus_is_space` is for queries. Returns how many bytes were written; they may hold NULs. */
size_t mlb_uri_decode(const char *text, size_t length, bool plus_is_space, char *ret_text);

#endif
