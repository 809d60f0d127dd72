getent passwd tallystick >/dev/null ||
  useradd --system --user-group --home-dir /var/lib/tallystick-collector --no-create-home --shell /sbin/nologin tallystick
