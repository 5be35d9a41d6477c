/* Is this a build with AddressSanitizer? It reserves terabytes for its shadow and calls more of the kernel: what locks a
 * process in lets that through there. Such a build proves memory safety, not the walls. */
#ifndef MLB_SANITIZED_H
#define MLB_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__)
#define MLB_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MLB_SANITIZED 1
#endif
#endif
#ifndef MLB_SANITIZED
#define MLB_SANITIZED 0
#endif

#endif
