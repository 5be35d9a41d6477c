/* Capture files as Wireshark reads them: pcapng (draft-ietf-opsawg-pcapng), in this machine's byte order. */
#ifndef MLB_PCAPNG_H
#define MLB_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLB_PCAPNG_NAME 63	/* bytes of an interface's name at most */
#define MLB_PCAPNG_BLOCK 128	/* bytes that a block has beside a frame or a name, at most */

/* Each writes one block to `ret_block`, which has room for MLB_PCAPNG_BLOCK bytes and the name or frame, and returns its
 * length. First the section's header, then the interfaces (numbered from 0), then packets. */
size_t mlb_pcapng_section(uint8_t *ret_block);
size_t mlb_pcapng_interface(uint8_t *ret_block, const char *name);

/* A packet of which `kept` bytes of `length` are known; `at_us` since 1970. */
size_t mlb_pcapng_packet(uint8_t *ret_block, uint32_t interface, bool is_outbound, uint64_t at_us, const uint8_t *bytes,
			 size_t kept, size_t length);

#endif
