install -d -o tallystick -g tallystick -m 0700 /var/lib/tallystick-collector
if [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  # Until `tallystick-collector init` was run its condition does not hold, and nothing starts.
  if [ "$1" = 1 ]; then systemctl enable --now tallystick-collector.service; else systemctl try-restart tallystick-collector.service; fi
fi
true
