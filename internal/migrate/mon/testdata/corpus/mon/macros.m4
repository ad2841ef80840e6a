dnl Periods and people have names here.
define(_WORK_, `wd {Mon-Fri} hr {7am-10pm}')dnl
define(_OPS_, `ops@example.org')dnl
# the office, by m4
alertdir = /usr/lib/mon/alert.d
mondir = /usr/lib/mon/mon.d

hostgroup web w1 w2

watch web
    service http
        interval 1m
        monitor http.monitor
        period _WORK_
            # to everybody
            alert mail.alert _OPS_
