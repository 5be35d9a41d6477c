/* What the files of the DHCPv4 codec share: where the parts of a message are (RFC 2131 section 2, figure 1). */
#ifndef MLB_DHCP_IMPL_H
#define MLB_DHCP_IMPL_H

#define MLB_DHCP_SNAME 44
#define MLB_DHCP_SNAME_SIZE 64
#define MLB_DHCP_FILE 108
#define MLB_DHCP_FILE_SIZE 128
#define MLB_DHCP_FIXED 240		/* up to and with the magic cookie */
#define MLB_DHCP_COOKIE 0x63825363u	/* RFC 2131 section 3 */

#endif
