/*
 * The fields that need nothing but a range and a default. Each table row is one field.
 */
#ifndef RINGLINE_RT_CONFIG_RULES_H
#define RINGLINE_RT_CONFIG_RULES_H

#include "ring/caps.h"
#include "ringline/runtime.h"

/* Check and fill in place. 0, or -EINVAL with a line that names the field. */
int config_rules(rln_config *c, struct diag *why);
/* at: "config.listen[N].", put before the field's name. */
int config_rules_listen(rln_listen_opts *l, const char *at, struct diag *why);

#endif
