# 0: removed; 1: another version takes its place.
if [ "$1" = 0 ] && [ -d /run/systemd/system ]; then
  systemctl disable --now tallystick-agent.service
fi
true
