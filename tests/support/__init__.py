"""What tests share: networks, and MXNet in processes of its own."""
