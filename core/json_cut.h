/* Shorten the JSON of Kubernetes objects before it is decoded: most of its bytes are bookkeeping that nobody here reads. */
#ifndef MLB_JSON_CUT_H
#define MLB_JSON_CUT_H

#include <stddef.h>

/* Remove, in place, the member `managedFields` of each object that is the value of a member `metadata`, and the member
 * `kubectl.kubernetes.io/last-applied-configuration` of that one's `annotations`, at any depth (lists, watch events, pod templates).
 * Compact or with white space (RFC 8259 section 2). Returns the new length; the text behind it is undefined. Valid JSON stays valid; text that is
 * not JSON, or nested deeper than 1000, is left as it is from where that shows. Names written with escapes are not recognized. */
size_t mlb_json_cut(char *text, size_t length);

#endif
